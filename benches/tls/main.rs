//! What mutual TLS costs through this crate, beside rustls and hyper put together by hand.
//!
//! `cargo bench --bench tls` prints all tables; `-- handshakes`, `-- requests`, `-- instructions`, `-- idle`, `-- many` or `-- slow` prints one. Linux only.
//!
//! Each server and the client are processes of their own, over loopback. What is compared takes turns in rounds of a second or so, and
//! ratios are taken within a round, since a machine that others use too is never the same twice; the middle of them is printed, with the
//! quarter of the rounds below and the quarter above. Processor time is what the server's threads ran, memory what its process holds
//! beyond the program itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a bench may panic"
)]

mod child;
mod client;
mod server;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tower_mesh::testing::{Leaf, Pki};

use child::{Child, tell};
use server::Server;

fn main() {
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", name, directory] => {
            let server = Server::ALL.into_iter().find(|server| server.name() == name);
            server.unwrap().run(Path::new(directory));
        }
        ["call", directory] => client::run(Path::new(directory)),
        [] => {
            for (_, table) in TABLES {
                table();
            }
        }
        [wanted] => {
            let table = TABLES.into_iter().find(|(name, _)| *name == wanted);
            table.unwrap_or_else(|| panic!("no table {wanted}")).1();
        }
        _ => panic!("one table, or none for all"),
    }
}

type Table = (&'static str, fn());

const TABLES: [Table; 6] = [
    ("handshakes", handshakes),
    ("requests", requests),
    ("instructions", instructions),
    ("idle", idle),
    ("many", many),
    ("slow", slow),
];

/// P-10: a connection, its handshake with certificates of both sides, one byte, and its end.
fn handshakes() {
    let site = Site::new();
    let contenders = [Server::Rustls, Server::Listener];
    tell("\n## Handshakes with client authentication (P-10)\n");
    site.race(&contenders, "handshakes", |client, address| {
        client.ask(&format!("handshakes {address} 400 16"))
    });
}

/// P-10: requests on connections that stand.
fn requests() {
    let site = Site::new();
    let contenders = [Server::RustlsHyper, Server::ListenerHyper, Server::Mesh];
    for version in ["1", "2"] {
        tell(format!(
            "\n## Requests over HTTP/{version} on 16 connections that stand (P-10)\n"
        ));
        site.race(&contenders, "requests", |client, address| {
            client.ask(&format!("requests {address} 400 16 {version}"))
        });
    }
}

/// Instructions of the server for a request, where clocks cannot be trusted: callgrind counts a server with few requests on
/// one connection and one with many, and the difference is the price of a request. The profiles stay, for `callgrind_annotate`.
fn instructions() {
    const FEW: f64 = 200.0;
    const MANY: f64 = 1_200.0;
    let site = Site::new();
    let profiles = std::env::temp_dir().join(format!("instructions.{}", std::process::id()));
    std::fs::create_dir(&profiles).unwrap();
    tell(format!(
        "\n## Instructions of a request, profiles in {}\n",
        profiles.display()
    ));
    tell("| server | HTTP | instructions | ÷ the first |");
    tell("|---|---|---:|---:|");
    for version in ["1", "2"] {
        let mut first = None;
        for server in [Server::RustlsHyper, Server::ListenerHyper, Server::Mesh] {
            let [few, many] = [FEW, MANY].map(|count| {
                let profile = profiles.join(format!("{server:?}.{version}.{count}"));
                let (counted, address) = site.serve_counted(server, &profile);
                let asked = site
                    .client()
                    .ask(&format!("count {address} {count} {version}"));
                assert_eq!(asked, count.to_string());
                // Callgrind writes when the server ends.
                drop(counted);
                total(&profile)
            });
            let each = (many - few) / (MANY - FEW);
            let ratio = each / *first.get_or_insert(each);
            tell(format!(
                "| {} | {version} | {each:.0} | {ratio:.2} |",
                server.name()
            ));
        }
    }
}

fn total(profile: &Path) -> f64 {
    let profile = std::fs::read_to_string(profile).unwrap();
    let totals = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    totals.unwrap().trim().parse().unwrap()
}

/// P-13: what an idle server holds, and what each idle connection adds.
fn idle() {
    let site = Site::new();
    let contenders = [
        Server::RustlsHyper,
        Server::ListenerHyper,
        Server::Mesh,
        Server::MeshOfPolicies,
    ];
    for version in ["1", "2"] {
        tell(format!(
            "\n## Memory, {HELD} idle HTTP/{version} connections that have answered a request (P-13)\n"
        ));
        tell("| server | idle, MiB | over the first | KiB a connection | ÷ the first |");
        tell("|---|---:|---:|---:|---:|");
        let mut rows = vec![(Vec::new(), Vec::new()); contenders.len()];
        for _ in 0..3 {
            for (contender, row) in contenders.into_iter().zip(&mut rows) {
                let (server, address) = site.serve(contender);
                let mut client = site.client();
                // What is made once, with the first connections.
                client.ask(&format!("hold {address} 64 {version}"));
                client.ask("release");
                let empty = server.memory();
                let held = client.ask(&format!("hold {address} {HELD} {version}"));
                assert_eq!(held, HELD.to_string());
                row.0.push(empty);
                row.1.push((server.memory() - empty) as f64 / HELD as f64);
            }
        }
        let first = rows[0].clone();
        for (contender, (empty, each)) in contenders.into_iter().zip(rows) {
            let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
            let over = empty.iter().zip(&first.0).map(|(a, b)| (a - b) as f64);
            let over = over.collect();
            let ratios = each.iter().zip(&first.1).map(|(a, b)| a / b).collect();
            tell(format!(
                "| {} | {:.1} | {:+.1} | {:.1} | {} |",
                contender.name(),
                mebibytes(middle(empty.iter().map(|bytes| *bytes as f64).collect())),
                mebibytes(middle(over)),
                middle(each) / 1024.0,
                spread(ratios, 3),
            ));
        }
    }
}

/// P-13: as many idle connections as the listener takes, for half a minute, and another client's requests meanwhile.
fn many() {
    let site = Site::new();
    tell("\n## Ten thousand idle connections\n");
    tell("| HTTP | held | MiB | after 30 s still good | processor, idle |");
    tell("|---|---:|---:|---:|---:|");
    for version in ["1", "2"] {
        let (server, address) = site.serve(Server::Mesh);
        let mut client = site.client();
        let before = server.memory();
        let held = client.ask(&format!("hold {address} {MANY} {version}"));
        let memory = server.memory() - before;
        let ran = server.processor();
        std::thread::sleep(Duration::from_secs(30));
        let ran = server.processor() - ran;
        let good = client.ask("check");
        tell(format!(
            "| {version} | {held} | {:.0} | {good} | {:.2} % |",
            memory as f64 / f64::from(1 << 20),
            ran.as_secs_f64() / 30.0 * 100.0,
        ));
    }
}

/// Handshakes beside others that stand still: the accept path and the handshakes of others do not wait for them.
fn slow() {
    let site = Site::new();
    tell("\n## Handshakes beside clients that stand still\n");
    tell("| beside | handshakes/s | p50 µs | p99 µs | failed |");
    tell("|---|---:|---:|---:|---:|");
    let (_server, address) = site.serve(Server::Listener);
    let mut client = site.client();
    for (name, stall) in [
        ("nobody", None),
        ("200 that say nothing", Some("stall {} 200 nothing")),
        (
            "200 in the middle of their hello",
            Some("stall {} 200 some"),
        ),
        ("2,000 that say nothing", Some("stall {} 2000 nothing")),
    ] {
        let mut others = site.client();
        if let Some(stall) = stall {
            others.ask(&stall.replace("{}", &address));
        }
        let done = Done::read(&client.ask(&format!("handshakes {address} 3000 4")));
        tell(done.row(name));
    }

    tell("\n## Requests on connections that stand, beside handshakes (R-03)\n");
    tell("| beside | requests/s | p50 µs | p99 µs | failed |");
    tell("|---|---:|---:|---:|---:|");
    let (_server, address) = site.serve(Server::Mesh);
    let requests = format!("requests {address} 3000 4 1");
    tell(Done::read(&client.ask(&requests)).row("nobody"));
    let mut others = site.client();
    others.tell(&format!("visits {address} 4000 64"));
    let done = Done::read(&client.ask(&requests));
    let flood = Done::read(&others.answer());
    tell(done.row(&format!("{:.0} handshakes/s", flood.rate)));
}

/// What the client says that it did.
struct Done {
    count: f64,
    rate: f64,
    failed: u64,
    p50: u64,
    p99: u64,
}

impl Done {
    fn read(said: &str) -> Self {
        let numbers: Vec<u64> = said.split(' ').map(|word| word.parse().unwrap()).collect();
        let [count, micros, failed, p50, p99] = numbers[..] else {
            panic!("{said}")
        };
        Self {
            count: count as f64,
            rate: count as f64 / (micros as f64 / 1e6),
            failed,
            p50,
            p99,
        }
    }

    fn row(&self, name: &str) -> String {
        let Self {
            rate,
            failed,
            p50,
            p99,
            ..
        } = self;
        format!("| {name} | {rate:.0} | {p50} | {p99} | {failed} |")
    }
}

/// Certificates for everybody.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let pki = Pki::new("cluster.local").unwrap();
        std::fs::write(directory.path().join("ca.crt"), pki.root_pem()).unwrap();
        for (file, name) in [("tls", "patients"), ("client", "check-in")] {
            let id = format!("spiffe://cluster.local/ns/default/sa/{name}");
            let issued = pki.issue(&Leaf::workload(id).dns("localhost")).unwrap();
            let at = |end: &str| directory.path().join(format!("{file}.{end}"));
            std::fs::write(at("crt"), issued.chain_pem()).unwrap();
            std::fs::write(at("key"), issued.key_pem().as_bytes()).unwrap();
        }
        Self(directory)
    }

    fn serve(&self, server: Server) -> (Child, String) {
        let directory = self.0.path().to_str().unwrap();
        let mut child = Child::start(&["serve", server.name(), directory]);
        let address = child.answer();
        (child, address)
    }

    /// As [`serve`](Self::serve), under callgrind.
    fn serve_counted(&self, server: Server, profile: &Path) -> (Child, String) {
        let directory = self.0.path().to_str().unwrap();
        let program = std::env::current_exe().unwrap();
        let valgrind = [
            "--tool=callgrind",
            "--quiet",
            &format!("--callgrind-out-file={}", profile.display()),
            program.to_str().unwrap(),
        ];
        let arguments = ["serve", server.name(), directory];
        let mut child = Child::start_program("valgrind", &[&valgrind[..], &arguments].concat());
        let address = child.answer();
        (child, address)
    }

    fn client(&self) -> Child {
        Child::start(&["call", self.0.path().to_str().unwrap()])
    }

    /// Lets them all do the same in turns, and prints how often each did it and what it took.
    fn race(&self, contenders: &[Server], what: &str, work: impl Fn(&mut Child, &str) -> String) {
        let mut client = self.client();
        let servers: Vec<_> = contenders
            .iter()
            .map(|server| self.serve(*server))
            .collect();
        let mut rates = vec![Vec::new(); servers.len()];
        let mut costs = rates.clone();
        for round in 0..=ROUNDS {
            // Whoever went first goes last in the next round.
            let mut order: Vec<_> = (0..servers.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let (server, address) = &servers[index];
                let before = server.processor();
                let done = Done::read(&work(&mut client, address));
                let ran = server.processor() - before;
                assert_eq!(done.failed, 0, "{what} failed");
                // The first round warms up.
                if round > 0 {
                    rates[index].push(done.rate);
                    costs[index].push(ran.as_secs_f64() * 1e6 / done.count);
                }
            }
        }
        tell(format!(
            "| server | {what}/s | ÷ the first | processor µs each | ÷ the first |"
        ));
        tell("|---|---:|---:|---:|---:|");
        for (index, contender) in contenders.iter().enumerate() {
            let beside = |figures: &[Vec<f64>]| {
                let ratios = figures[index].iter().zip(&figures[0]).map(|(a, b)| a / b);
                spread(ratios.collect(), 3)
            };
            tell(format!(
                "| {} | {:.0} | {} | {:.1} | {} |",
                contender.name(),
                middle(rates[index].clone()),
                beside(&rates),
                middle(costs[index].clone()),
                beside(&costs),
            ));
        }
    }
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The middle, and the quarters around it.
fn spread(mut figures: Vec<f64>, digits: usize) -> String {
    figures.sort_by(f64::total_cmp);
    let at = |share: usize| figures[figures.len() * share / 4];
    format!("{:.digits$} ({:.digits$}–{:.digits$})", at(2), at(1), at(3))
}

const ROUNDS: usize = 40;
const HELD: usize = 4_000;
/// What one listener takes by default.
const MANY: usize = 10_000;
