//! `peers`: the competitors that live inside the process.
//!
//! peers gen        --dir DIR                                   certificates, keys, tokens, JWKS
//! peers serve      --variant bare|stack [--with LIST] [--sampling never|always] [--tls] --port P --dir DIR
//! peers mesh       --port P --dir DIR [--percent 1] [--policies 10]   the same application in tower-mesh
//! peers load       --mode closed|open|handshake --port P ...   lean load generator (HTTP/1.1, optional mTLS)
//! peers micro      --dir DIR [--jwt-backend aws|rustcrypto]    ns of thread CPU per call
//! peers rbac       [--max N]                                   casbin, cedar and two yardsticks
//! peers handshake  --dir DIR                                   rustls handshakes in memory
mod app;
mod genkeys;
mod handshake;
mod load;
mod mesh;
#[cfg(feature = "hand-assembled")]
mod micro;
#[cfg(feature = "hand-assembled")]
mod rbac;
#[cfg(feature = "hand-assembled")]
mod stack;
#[cfg_attr(not(feature = "hand-assembled"), allow(dead_code))]
mod timing;
mod tlsx;

use std::collections::HashMap;

pub struct Args {
    pub cmd: String,
    map: HashMap<String, String>,
}

impl Args {
    fn parse() -> Self {
        let mut it = std::env::args().skip(1).peekable();
        let cmd = it.next().unwrap_or_default();
        let mut map = HashMap::new();
        while let Some(k) = it.next() {
            let k = k.trim_start_matches("--").to_string();
            let v = match it.peek() {
                Some(v) if !v.starts_with("--") => it.next().unwrap(),
                _ => "true".to_string(),
            };
            map.insert(k, v);
        }
        Args { cmd, map }
    }
    pub fn get(&self, k: &str, default: &str) -> String {
        self.map.get(k).cloned().unwrap_or_else(|| default.to_string())
    }
    pub fn num(&self, k: &str, default: u64) -> u64 {
        self.map.get(k).map_or(default, |v| v.parse().expect("a number"))
    }
    pub fn has(&self, k: &str) -> bool {
        self.map.contains_key(k)
    }
}

fn main() {
    let args = Args::parse();
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    match args.get("jwt-backend", "aws").as_str() {
        "rustcrypto" => jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default().ok(),
        _ => jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().ok(),
    };
    match args.cmd.as_str() {
        "gen" => genkeys::run(&args),
        "serve" => app::run(&args),
        "load" => load::run(&args),
        "mesh" => mesh::run(&args),
        #[cfg(feature = "hand-assembled")]
        "micro" => micro::run(&args),
        #[cfg(feature = "hand-assembled")]
        "rbac" => rbac::run(&args),
        "handshake" => handshake::run(&args),
        other => {
            eprintln!("unknown command {other:?}; see the head of src/main.rs");
            std::process::exit(2);
        }
    }
}
