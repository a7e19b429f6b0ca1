//! `tower-mesh pki`: makes certificates for development, signed by a local authority.

use std::error::Error;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use tower_mesh::identity::{SpiffeId, TrustDomain};
use tower_mesh::testing::{Authority, Leaf, Pki as Root};
use tower_mesh::tls::{Credentials, Files, Identity, Settings, TrustBundles, X509Svid};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::input::options::namespace_and_account;

/// Make certificates for development: a root, and a certificate and key for each workload
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pki {
    /// Where they go: DIR/ca.crt and DIR/ca.key, and DIR/NS/SA/ with tls.crt, tls.key and ca.crt
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The workloads: the namespace and the service account of each
    #[arg(value_name = "NS/SA", required = true, value_parser = namespace_and_account)]
    workloads: Vec<(String, String)>,
    /// The trust domain that the root vouches for
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    trust_domain: TrustDomain,
    /// Days that the workloads' certificates are valid; the root is valid for ten years
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=MOST_DAYS))]
    days: u32,
}

const MOST_DAYS: i64 = 365;
/// Of a namespace or a service account.
const LONGEST_NAME: usize = 253;

const EXAMPLES: &str = "\
Examples:
  tower-mesh pki certs default/patients default/check-in
  tower-mesh pki certs default/patients --days 1
  tower-mesh pki elsewhere clinic/desk --trust-domain partner.example

Run again, it keeps the root and renews the workloads' certificates: a process
that watches them goes on with the new ones. It overwrites no root and no
certificate that it did not make.

The root's key lies beside it without a password. For development alone.

Exit status: 0, or 2 when something could not be written.";

/// One workload's files, made and judged, but not written.
struct Made {
    dir: PathBuf,
    id: SpiffeId,
    chain: String,
    key: Zeroizing<String>,
}

impl Pki {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        refuse_open(&self.dir, &self.key_file())?;
        let (root, is_new) = self.root()?;
        // All of it is made and looked at before any of it is written.
        let workloads = self.workloads.iter();
        let made = workloads.map(|workload| self.make(&root, workload));
        let made = made.collect::<Result<Vec<_>, _>>()?;
        let mut out = io::stdout().lock();
        if is_new {
            create_dir(&self.dir)?;
            // A root without its key is refused the next time, so the key comes first. Of runs at
            // the same time, whose key it is makes the root.
            write_first(&self.key_file(), root.key_pem().as_bytes())?;
            write(&self.root_file(), root.root_pem().as_bytes(), Eyes::All)?;
            let (root, key) = (self.root_file(), self.key_file());
            let (root, key, domain) = (root.display(), key.display(), &self.trust_domain);
            writeln!(
                out,
                "wrote {root} and {key}: a root of {domain}, good for 10 years"
            )?;
        }
        for made in &made {
            made.write(&root)?;
            let (dir, days) = (made.dir.display(), self.days);
            let plural = if days == 1 { "" } else { "s" };
            writeln!(
                out,
                "wrote {dir}/{{tls.crt,tls.key,ca.crt}}: {}, good for {days} day{plural}",
                made.id
            )?;
        }
        writeln!(out, "\nIn each workload:")?;
        for made in &made {
            let dir = made.dir.display().to_string();
            writeln!(
                out,
                "    Mesh::builder(workload, tls::Files::watch({dir:?}))"
            )?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    fn root_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    fn key_file(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// The root of an earlier run, or a new one, and whether it is new.
    fn root(&self) -> Result<(Root, bool), Failure> {
        let (root_file, key_file) = (self.root_file(), self.key_file());
        let authority = Authority::new(NAME);
        let (certificate, key) = match (read(&root_file)?, read(&key_file)?) {
            (None, None) => {
                let root = Root::with_root(&self.trust_domain, &authority);
                return Ok((root.map_err(|error| wrong(&chain(&error)))?, true));
            }
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return Err(half(&root_file, &key_file)),
            (None, Some(_)) => return Err(half(&key_file, &root_file)),
        };
        let root = Root::from_pem(&self.trust_domain, &authority, &certificate, &key);
        let root = root.map_err(|error| {
            wrong(&format!(
                "{} and {} are not the root that `tower-mesh pki` makes for trust domain {}: {}; \
                 nothing was written: choose another directory, or move those two away",
                root_file.display(),
                key_file.display(),
                self.trust_domain,
                causes(&error)
            ))
        })?;
        Ok((root, false))
    }

    /// A certificate for a workload, judged as the mesh will.
    fn make(&self, root: &Root, (namespace, account): &(String, String)) -> Result<Made, Failure> {
        let id = SpiffeId::istio(&self.trust_domain, namespace, account).map_err(|error| {
            wrong(&format!(
                "`{namespace}/{account}` cannot name a workload: {error}"
            ))
        })?;
        for name in [namespace, account] {
            refuse_name(name)?;
        }
        let of_namespace = self.dir.join(namespace);
        let dir = of_namespace.join(account);
        // The key's own directory is judged as the mesh does.
        refuse_open_directory(&of_namespace, "where the key of a workload lies")?;
        refuse_others(&dir, &root.root_pem())?;
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        let leaf = Leaf::workload(id.as_str())
            .dns("localhost")
            .ip(IpAddr::from([127, 0, 0, 1]))
            // Clocks of containers are behind now and then.
            .valid(now - hour, now + hour * 24 * self.days);
        let issued = root.issue(&leaf).map_err(|error| wrong(&chain(&error)))?;
        let (pem, key) = (issued.chain_pem(), issued.key_pem());
        let judged = X509Svid::from_pem(pem.as_bytes(), key.as_bytes()).and_then(|svid| {
            let roots = root.root_pem();
            let bundles = TrustBundles::new();
            let bundles = bundles.with_pem(self.trust_domain.clone(), roots.as_bytes())?;
            Credentials::new(&Identity::new(svid, bundles), Settings::default())
        });
        judged.map_err(|error| {
            wrong(&format!(
                "{}: the mesh would refuse what it signs: {}",
                self.root_file().display(),
                chain(&error)
            ))
        })?;
        Ok(Made {
            dir,
            id,
            chain: pem,
            key,
        })
    }
}

impl Made {
    fn write(&self, root: &Root) -> Result<(), Failure> {
        create_dir(&self.dir)?;
        let file = |name: &str| self.dir.join(name);
        write(&file("ca.crt"), root.root_pem().as_bytes(), Eyes::All)?;
        write(&file("tls.key"), self.key.as_bytes(), Eyes::Own)?;
        write(&file("tls.crt"), self.chain.as_bytes(), Eyes::All)?;
        // As a process will read it: permissions count, too.
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let read = runtime.block_on(Files::watch(&self.dir).strict().load());
        read.map(drop).map_err(|error| wrong(&chain(&error)))
    }
}

/// The root's key is for its owner alone, as a workload's is.
#[cfg(unix)]
fn refuse_open(dir: &Path, key: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    refuse_open_directory(dir, "where the root's key lies")?;
    let of_key = fs::metadata(key).map_or(0, |found| found.permissions().mode());
    if of_key & 0o004 != 0 {
        return Err(wrong(&format!(
            "everybody may read {}, the root's key; nothing was written: `chmod 600` it, or move it and the root away \
             where others may have read it",
            key.display()
        )));
    }
    Ok(())
}

/// In a directory that everybody may write to, everybody may put a key of theirs in the place of
/// ours.
#[cfg(unix)]
fn refuse_open_directory(dir: &Path, what: &str) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(dir).map_or(0, |found| found.permissions().mode());
    // In a sticky directory only a file's owner may put another in its place.
    if mode & 0o1002 == 0o002 {
        return Err(wrong(&format!(
            "everybody may write to {}, {what}; nothing was written: `chmod o-w` it",
            dir.display()
        )));
    }
    Ok(())
}

/// Other systems keep permissions elsewhere.
#[cfg(not(unix))]
fn refuse_open_directory(_: &Path, _: &str) -> Result<(), Failure> {
    Ok(())
}

/// Other systems keep permissions elsewhere.
#[cfg(not(unix))]
fn refuse_open(_: &Path, _: &Path) -> Result<(), Failure> {
    Ok(())
}

/// A name that no directory has, or that is one of our files'.
fn refuse_name(name: &str) -> Result<(), Failure> {
    if name.len() > LONGEST_NAME {
        return Err(wrong(&format!(
            "a name of {} characters cannot name a workload: Kubernetes knows {LONGEST_NAME} at most; nothing was written",
            name.len()
        )));
    }
    if ["ca.crt", "ca.key"].contains(&name) {
        return Err(wrong(&format!(
            "`{name}` cannot name a workload here, as the root's file has that name; nothing was written"
        )));
    }
    Ok(())
}

/// Whose certificates are in a directory; another workload's are not overwritten.
fn refuse_others(dir: &Path, root: &str) -> Result<(), Failure> {
    let there = ["ca.crt", "tls.crt", "tls.key"].map(|name| dir.join(name));
    let is_ours = read(&dir.join("ca.crt"))?.is_some_and(|known| known == root);
    match there.iter().find(|file| file.exists()) {
        Some(file) if !is_ours => Err(wrong(&format!(
            "{} is not of this root; nothing was written: choose another directory, or move it away",
            file.display()
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The text of a file, if it is there.
fn read(file: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(&format!(
            "{} cannot be read: {error}; nothing was written",
            file.display()
        ))),
    }
}

fn create_dir(dir: &Path) -> Result<(), Failure> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    own_alone_writes(&mut builder);
    builder
        .create(dir)
        .map_err(|error| wrong(&format!("{} cannot be made: {error}", dir.display())))
}

/// Who may write to a directory may put another key in it, whatever the umask.
#[cfg(unix)]
fn own_alone_writes(builder: &mut DirBuilder) {
    use std::os::unix::fs::DirBuilderExt;
    builder.mode(0o755);
}

/// Other systems keep permissions elsewhere.
#[cfg(not(unix))]
fn own_alone_writes(_: &mut DirBuilder) {}

/// Who may read a file.
#[derive(Clone, Copy)]
enum Eyes {
    All,
    Own,
}

/// Writes a key where no file is, not even one that came this moment.
fn write_first(file: &Path, text: &[u8]) -> Result<(), Failure> {
    write_new(file, text, Eyes::Own).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            if !file.exists() {
                return wrong(&format!(
                    "{} is a link that leads nowhere; nothing was written: move it away",
                    file.display()
                ));
            }
            return wrong(&format!(
                "{} was made meanwhile, by another run; nothing was written: run it again",
                file.display()
            ));
        }
        // It may not be there; the first error is the one that counts.
        drop(fs::remove_file(file));
        wrong(&format!("{} cannot be written: {error}", file.display()))
    })
}

/// Puts a whole file in the place of the one there, so that no reader sees half of it.
fn write(file: &Path, text: &[u8], eyes: Eyes) -> Result<(), Failure> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_new(&beside, text, eyes).and_then(|()| fs::rename(&beside, file));
    written.map_err(|error| {
        // It may not be there; the first error is the one that counts.
        drop(fs::remove_file(&beside));
        wrong(&format!("{} cannot be written: {error}", file.display()))
    })
}

fn write_new(file: &Path, text: &[u8], eyes: Eyes) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    restrict(&mut options, eyes);
    let mut opened = options.open(file)?;
    opened.write_all(text)?;
    opened.sync_all()
}

#[cfg(unix)]
fn restrict(options: &mut OpenOptions, eyes: Eyes) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(match eyes {
        Eyes::All => 0o644,
        Eyes::Own => 0o600,
    });
}

/// Other systems keep permissions elsewhere.
#[cfg(not(unix))]
fn restrict(_: &mut OpenOptions, _: Eyes) {}

fn half(there: &Path, gone: &Path) -> Failure {
    wrong(&format!(
        "{} is there without {}; nothing was written: put that back, choose another directory, or move the one away",
        there.display(),
        gone.display()
    ))
}

fn wrong(text: &str) -> Failure {
    Failure::Question(text.to_owned())
}

/// An error and its causes, in a line.
fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(_) => format!("{error}: {}", causes(error)),
        None => error.to_string(),
    }
}

fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// By which a root of ours is known.
const NAME: &str = "tower-mesh development root";
