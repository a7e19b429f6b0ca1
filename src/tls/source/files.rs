//! A source that reads PEM files, again whenever they change.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::fs;
use tokio::io::AsyncReadExt;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use zeroize::Zeroizing;

use crate::identity::TrustDomain;
use crate::tls::identity::bundle::TrustBundles;
use crate::tls::identity::error::IdentityError;
use crate::tls::identity::svid::{Identity, X509Svid, read_chain, read_key};

use super::contract::{NextIdentity, Source, SourceError};

/// An identity in PEM files that another program renews: cert-manager, a Kubernetes secret, Istio's
/// agent, SPIFFE's helper.
///
/// The source looks at the files every second. It reads them when one of them (or a symlinked
/// directory above it) has changed and then stayed the same for 100 ms, and at least once a minute.
/// A certificate and key of different generations, a truncated file or a missing file are errors of
/// that attempt: the identity in use stays, and the next look may succeed.
///
/// A key that every user may read causes a warning. A key in a directory that every user may write
/// to is an error, unless the directory is sticky (`1777`, as Kubernetes mounts its volumes), where
/// only the owner of a file can replace it.
#[derive(Debug)]
pub struct Files {
    certificates: PathBuf,
    key: PathBuf,
    roots: PathBuf,
    others: Vec<(TrustDomain, PathBuf)>,
    revoked: Vec<Revoked>,
    strict: bool,
    seen: Option<Seen>,
}

/// Where the revocation lists of a trust domain are.
#[derive(Debug)]
struct Revoked {
    trust_domain: TrustDomain,
    file: PathBuf,
    /// The method that adds the lists, which says what happens to an unknown status.
    add: AddLists,
}

type AddLists = fn(TrustBundles, &TrustDomain, &[u8]) -> Result<TrustBundles, IdentityError>;

/// The last attempt to read the files.
#[derive(Debug)]
struct Seen {
    state: Vec<Option<FileState>>,
    at: Instant,
}

/// Tells one version of a file from the next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileState {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl Files {
    /// Watches a directory whose files have the names of a layout that is known:
    ///
    /// | written by | chain | key | roots |
    /// |---|---|---|---|
    /// | cert-manager, Kubernetes | `tls.crt` | `tls.key` | `ca.crt` |
    /// | Istio's workload certificates | `certificates.pem` | `private_key.pem` | `ca_certificates.pem` |
    /// | Istio's agent | `cert-chain.pem` | `key.pem` | `root-cert.pem` |
    /// | SPIFFE's helper | `svid.pem` | `svid_key.pem` | `svid_bundle.pem` |
    ///
    /// The first layout whose chain file exists is used; if there is none, errors name the first
    /// layout.
    #[must_use]
    pub fn watch(directory: impl AsRef<Path>) -> Self {
        let directory = directory.as_ref();
        let there = LAYOUTS
            .iter()
            .find(|[chain, ..]| directory.join(chain).exists());
        let [chain, key, roots] = *there.unwrap_or(&CERT_MANAGER);
        Self::named(
            directory.join(chain),
            directory.join(key),
            directory.join(roots),
        )
    }

    /// Watches three files: the chain, leaf first; its key; the roots of its trust domain.
    #[must_use]
    pub fn named(
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        roots: impl Into<PathBuf>,
    ) -> Self {
        Self {
            certificates: certificates.into(),
            key: key.into(),
            roots: roots.into(),
            others: Vec::new(),
            revoked: Vec::new(),
            strict: false,
            seen: None,
        }
    }

    /// Watches the roots of another trust domain, whose workloads are then trusted too.
    #[must_use]
    pub fn trust(mut self, trust_domain: TrustDomain, roots: impl Into<PathBuf>) -> Self {
        self.others.push((trust_domain, roots.into()));
        self
    }

    /// Watches a file of revocation lists of a trust domain; may be called several times. See
    /// [`TrustBundles::with_revoked_pem`].
    #[must_use]
    pub fn revoked(self, trust_domain: TrustDomain, lists: impl Into<PathBuf>) -> Self {
        self.with_lists(trust_domain, lists.into(), TrustBundles::with_revoked_pem)
    }

    /// As [`revoked`](Self::revoked), but only a certificate on a list is refused; see
    /// [`TrustBundles::with_revoked_pem_if_known`].
    #[must_use]
    pub fn revoked_if_known(self, trust_domain: TrustDomain, lists: impl Into<PathBuf>) -> Self {
        let add = TrustBundles::with_revoked_pem_if_known;
        self.with_lists(trust_domain, lists.into(), add)
    }

    fn with_lists(mut self, trust_domain: TrustDomain, file: PathBuf, add: AddLists) -> Self {
        self.revoked.push(Revoked {
            trust_domain,
            file,
            add,
        });
        self
    }

    /// Refuses a key that every user may read.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Reads the files as they are now.
    ///
    /// # Errors
    /// When a file cannot be read, is longer than 1 MiB, or does not hold what it should. The error
    /// names the file, and the line if there is one.
    pub async fn load(&self) -> Result<Identity, SourceError> {
        self.check_permissions().await?;
        let in_file = |file: &Path| {
            let file = file.to_owned();
            move |error: IdentityError| error.in_file(&file)
        };
        let chain = read(&self.certificates).await?;
        let chain = read_chain(&chain).map_err(in_file(&self.certificates))?;
        let key = read(&self.key).await?;
        let key = read_key(&key).map_err(in_file(&self.key))?;
        let files = [&self.certificates, &self.key].map(|file| Some(file.as_path()));
        let svid = X509Svid::from_blocks(chain, key, files)?;
        let mut bundles = TrustBundles::new();
        let own = (svid.spiffe_id().trust_domain(), &self.roots);
        let others = self.others.iter().map(|(domain, file)| (domain, file));
        for (domain, file) in std::iter::once(own).chain(others) {
            bundles = bundles
                .with_pem(domain.clone(), &read(file).await?)
                .map_err(in_file(file))?;
        }
        for list in &self.revoked {
            let pem = read(&list.file).await?;
            bundles = (list.add)(bundles, &list.trust_domain, &pem).map_err(in_file(&list.file))?;
        }
        Ok(Identity::new(svid, bundles))
    }

    async fn check_permissions(&self) -> Result<(), SourceError> {
        let file = &self.key;
        if self.strict && self.everybody_may_read_key().await {
            let rule = "everybody may read the private key: `chmod 600` it";
            return Err(SourceError::rule(file, rule));
        }
        // Checks both the given path and the real one: Kubernetes puts a symlink between them.
        let lies = fs::canonicalize(file).await.ok();
        for file in std::iter::once(file).chain(&lies) {
            // A bare file name lies in the current directory.
            let directory = file
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let metadata = fs::metadata(directory.unwrap_or_else(|| Path::new("."))).await;
            if metadata.is_ok_and(|metadata| everybody_may_replace(&metadata)) {
                let rule = "everybody may write to the private key's directory: `chmod o-w` it";
                return Err(SourceError::rule(file, rule));
            }
        }
        Ok(())
    }

    async fn everybody_may_read_key(&self) -> bool {
        let metadata = fs::metadata(&self.key).await;
        metadata.is_ok_and(|metadata| everybody_may(READ, &metadata))
    }

    /// Waits until the files should be read again.
    async fn changed(&self, seen: &Seen) {
        let anyway = seen.at + ANYWAY;
        while Instant::now() < anyway {
            sleep_until(anyway.min(Instant::now() + LOOK)).await;
            let mut state = self.state().await;
            if state == seen.state {
                continue;
            }
            // A program that writes three files writes them one after the other.
            loop {
                sleep(REST).await;
                let now = self.state().await;
                if now == state || Instant::now() >= anyway {
                    return;
                }
                state = now;
            }
        }
    }

    async fn state(&self) -> Vec<Option<FileState>> {
        let others = self.others.iter().map(|(_, file)| file);
        let others = others.chain(self.revoked.iter().map(|revoked| &revoked.file));
        let mut states = Vec::new();
        for file in [&self.certificates, &self.key, &self.roots]
            .into_iter()
            .chain(others)
        {
            states.push(FileState::read(file).await.ok());
        }
        states
    }
}

impl Source for Files {
    fn next(&mut self) -> NextIdentity<'_> {
        Box::pin(async {
            if let Some(seen) = &self.seen {
                self.changed(seen).await;
            }
            // Taken before the files are read, so that the next look notices what changes
            // meanwhile.
            let state = self.state().await;
            let known = self.seen.as_ref().is_some_and(|seen| seen.state == state);
            if !known && self.everybody_may_read_key().await {
                tracing::warn!(file = %self.key.display(), "everybody may read the private key");
            }
            let loaded = self.load().await;
            let at = Instant::now();
            self.seen = Some(Seen { state, at });
            loaded
        })
    }
}

impl FileState {
    async fn read(file: &Path) -> io::Result<Self> {
        // The path behind every symlink: Kubernetes replaces a directory of the path, not the file.
        let path = fs::canonicalize(file).await?;
        let metadata = fs::metadata(&path).await?;
        Ok(Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            path,
        })
    }
}

/// The bytes are wiped on drop, because one of the files is a key.
async fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    let error = |error| SourceError::io(file, error);
    // Opening a pipe would wait for its writer.
    if !fs::metadata(file).await.map_err(error)?.is_file() {
        let rule = "not a regular file: give the path of a PEM file";
        return Err(SourceError::rule(file, rule));
    }
    let opened = fs::File::open(file).await.map_err(error)?;
    let length = opened.metadata().await.map_err(error)?.len();
    let room = usize::try_from(length).unwrap_or(LARGEST).min(LARGEST) + 1;
    // Allocates once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let mut most = opened.take(LARGEST as u64 + 1);
    most.read_to_end(&mut bytes).await.map_err(error)?;
    if bytes.len() > LARGEST {
        let rule = "longer than 1 MiB, too long for a PEM file of certificates";
        return Err(SourceError::rule(file, rule));
    }
    Ok(bytes)
}

/// Whether every user can replace files in a directory. In a sticky one, only the owner of a file
/// can.
fn everybody_may_replace(directory: &Metadata) -> bool {
    everybody_may(WRITE, directory) && !everybody_may(STICKY, directory)
}

#[cfg(unix)]
fn everybody_may(what: u32, metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & what != 0
}

/// Other systems keep permissions elsewhere.
#[cfg(not(unix))]
fn everybody_may(_: u32, _: &Metadata) -> bool {
    false
}

const CERT_MANAGER: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];
const LAYOUTS: [[&str; 3]; 4] = [
    CERT_MANAGER,
    ["certificates.pem", "private_key.pem", "ca_certificates.pem"],
    ["cert-chain.pem", "key.pem", "root-cert.pem"],
    ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
];
const READ: u32 = 0o004;
const WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
const LARGEST: usize = 1 << 20;
const LOOK: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_millis(100);
const ANYWAY: Duration = Duration::from_secs(60);
