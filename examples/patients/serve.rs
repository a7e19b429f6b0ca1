//! Keeps the clinic up, for curl.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use tower_mesh::testing::Leaf;

use crate::clinic::Clinic;

/// Prints how to call the clinic, and waits for the end of the process.
pub async fn until_interrupted(clinic: &Clinic) -> ExitCode {
    let directory = match tempfile::tempdir() {
        Ok(directory) => directory,
        Err(problem) => {
            eprintln!("no directory for the certificate files: {problem}");
            return ExitCode::from(2);
        }
    };
    if let Err(problem) = write_files(clinic, directory.path()) {
        eprintln!("the certificate files cannot be written: {problem}");
        return ExitCode::from(2);
    }
    let file = |name| directory.path().join(name).display().to_string();
    println!("ready");
    println!(
        "PATIENTS_URL=https://localhost:{}/patients/7",
        clinic.patients.address.port()
    );
    println!(
        "CHECKIN_URL=https://localhost:{}/desk/7",
        clinic.check_in.address.port()
    );
    println!(
        "METRICS_URL=http://{}{}",
        clinic.metrics,
        tower_mesh::metrics::PATH
    );
    println!("CA={}", file("ca.pem"));
    println!("CERT={}", file("admin.pem"));
    println!("KEY={}", file("admin.key"));
    println!("TOKEN_FILE={}", file("token"));
    let with = format!(
        "--cacert {} --cert {} --key {} -H \"authorization: Bearer $(cat {})\"",
        file("ca.pem"),
        file("admin.pem"),
        file("admin.key"),
        file("token")
    );
    println!(
        "curl {with} https://localhost:{}/patients/7",
        clinic.patients.address.port()
    );
    println!(
        "curl {with} https://localhost:{}/desk/7",
        clinic.check_in.address.port()
    );
    println!(
        "curl http://{}{}",
        clinic.metrics,
        tower_mesh::metrics::PATH
    );
    let _ = std::io::stdout().flush();
    match interrupted().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Until the process is told to end, so that the files are gone after it.
async fn interrupted() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            told = tokio::signal::ctrl_c() => told,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// The administrator's certificate and token, good for a day.
fn write_files(clinic: &Clinic, directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let id = clinic.admin.mesh.spiffe_id();
    let issued = clinic.pki.issue(&Leaf::workload(id.as_str()))?;
    let token = clinic
        .issuer
        .token()
        .subject("administrator")
        .audience("patients");
    std::fs::write(directory.join("ca.pem"), clinic.pki.root_pem())?;
    std::fs::write(directory.join("admin.pem"), issued.chain_pem())?;
    std::fs::write(directory.join("admin.key"), issued.key_pem().as_bytes())?;
    std::fs::write(directory.join("token"), token.sign())?;
    Ok(())
}
