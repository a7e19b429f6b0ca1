//! `tower-mesh route`: explains where a call goes.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tower_mesh::Workload;
use tower_mesh::routing::route::Call;
use tower_mesh::routing::{Routing, RoutingOptions};

use crate::failure::Failure;
use crate::input::options::{Format, key_and_value, namespace_and_account};
use crate::input::world::{directory, tell_unread};
use crate::output::json::json_line;
use crate::printable::printable;

/// Say where a workload's call goes, by which route, and why not by those before it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Route {
    /// The call's method
    #[arg(value_name = "METHOD")]
    method: String,
    /// The call's URL: http:// or https://, host, path and query; the port is 80 or 443 unless it
    /// has one
    #[arg(value_name = "URL")]
    url: String,
    /// A header line
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = key_and_value)]
    headers: Vec<(String, String)>,
    /// How to print the explanation
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Istio resources, Services and routes of the Gateway API: a file, or a directory of *.yaml,
    /// *.yml and *.json; may be given several times
    #[arg(long, value_name = "PATH", required = true)]
    config: Vec<PathBuf>,
    /// The mesh's settings: a MeshConfig, or the ConfigMap `istio` that holds one
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// The workload that calls: its namespace and service account
    #[arg(long, value_name = "NS/SA", value_parser = namespace_and_account)]
    workload: (String, String),
    /// A label of the workload, for sourceLabels and Sidecars; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_and_value)]
    labels: Vec<(String, String)>,
}

const EXAMPLES: &str = "\
Examples:
  tower-mesh route --config mesh/ --workload shop/web GET http://reviews/7
  tower-mesh route --config mesh/ --workload shop/web --label app=web \\
      GET http://reviews.shop:8080/7 --header end-user=jason --format json

Prints the virtual host of the call, each route that was tried with the first
test that the call does not pass, and of the route that takes it clusters with
their weights, rewrites, timeout and retries. Routes that are not for this
workload or port are left out, as a sidecar has none of them. The path is taken
as it is written.

JSON has the keys routed, port, host, virtual_host, routes and outcome.

Exit status: 0 routed, 1 not routed (nobody knows the host and the outbound
policy refuses it, or no route takes the call), 2 error.";

/// The kinds that say where a call goes, which other commands have no use for.
const ASKED: [&str; 7] = [
    "GRPCRoute",
    "HTTPRoute",
    "ReferenceGrant",
    "Service",
    "ServiceEntry",
    "Sidecar",
    "VirtualService",
];

impl Route {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (port, call) = self.call().map_err(Failure::Question)?;
        let (namespace, account) = &self.workload;
        let mut configuration =
            directory(&self.config, self.mesh_config.as_ref()).read(namespace)?;
        let skipped = &mut configuration.resources.skipped;
        skipped.retain(|skipped| !ASKED.contains(&&*skipped.kind));
        tell_unread(&configuration);
        let labels = self.labels.iter();
        let workload = labels.fold(
            Workload::new(namespace, account),
            |workload, (key, value)| workload.label(key, value),
        );
        let routing = Routing::new(
            &workload,
            &configuration.mesh_config,
            &configuration.resources.traffic,
            &(),
            &RoutingOptions::default(),
        )?;
        let explanation = routing.explain(port, &call);
        let mut out = io::stdout().lock();
        match self.json || self.format == Format::Json {
            true => json_line(&mut out, &explanation)?,
            false => {
                for line in explanation.to_string().lines() {
                    writeln!(out, "{}", printable(line))?;
                }
            }
        }
        out.flush()?;
        Ok(ExitCode::from(u8::from(!explanation.routed)))
    }

    /// The call, and the port that it goes to.
    fn call(&self) -> Result<(u16, Call), String> {
        if http::Method::from_bytes(self.method.as_bytes()).is_err() {
            return Err(format!("`{}` is no method", printable(&self.method)));
        }
        let due = |why: &str| {
            let url = printable(&self.url);
            format!("`{url}` {why}; write http://HOST[:PORT]/PATH")
        };
        let url: http::Uri = self.url.parse().map_err(|_| due("is no URL"))?;
        let by_scheme = match url.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            Some(_) => return Err(due("is not of http or https")),
            None => return Err(due("names no host")),
        };
        let authority = url.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(due("holds a user"));
        }
        let port = match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => {
                let port = port.parse::<u16>().ok().filter(|port| *port != 0);
                port.ok_or_else(|| due("has a wrong port"))?
            }
            _ => by_scheme,
        };
        let mut call = Call::new(&self.method, &url.to_string());
        for (name, value) in &self.headers {
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(format!("`{}` is no name of a header", printable(name)));
            }
            if name.eq_ignore_ascii_case("host") {
                return Err("the host is that of the URL: drop the header".to_owned());
            }
            call = call.header(name, value);
        }
        Ok((port, call))
    }
}
