//! Access logs: one line for each request that is served, and for each call that is made.
//!
//! Text and JSON are those of Istio's sidecar, so what reads its logs reads these. Nothing is
//! written until a log is set:
//!
//! ```
//! use tower_mesh::access_log::AccessLog;
//! use tower_mesh::mesh::TelemetryOptions;
//!
//! // Mesh::builder(..).telemetry(|telemetry| telemetry.access_log(AccessLog::text()))
//! # let telemetry = TelemetryOptions::default();
//! let telemetry = telemetry.access_log(AccessLog::text());
//! # drop(telemetry);
//! ```
//!
//! Every exchange leaves exactly one line in each log, when its response has ended: allowed or
//! refused, answered or cut, also when the handler panics or the caller leaves. A line never blocks
//! a request. It goes into a bounded queue, which a thread of the [`Sink`] writes; a line that finds
//! no room is counted and dropped. A request without a log pays nothing.
//!
//! # What is left out and what is escaped
//!
//! The sidecar writes paths and headers as they came. This log does not:
//!
//! - a query is `?…` ([`AccessLog::full_queries`]);
//! - [chosen parameters](AccessLog::redact_path) of paths are left out;
//! - headers that hold secrets (`authorization`, `cookie` and the like) cannot be in a format;
//! - quotation marks, backslashes, control characters, line separators, characters that are
//!   invisible or change the direction of text, and bytes that are not UTF-8 are escaped, and a
//!   blank in a column without quotation marks is `_`: no request can forge a line or a column;
//! - a value has at most 4 KiB, and an escaped one 8 KiB.
//!
//! # Operators
//!
//! `%NAME%`, `%NAME(ARGUMENT)%`, and `:LENGTH` before the last sign, which cuts the value. `%%` is
//! the sign itself. What has no value is `-`.
//!
//! | operator | value |
//! |---|---|
//! | `%START_TIME%`, `%EMIT_TIME%` | when the request came, when its exchange ended, in UTC; an argument is a part of `strftime` |
//! | `%REQ(A?B)%` | a header of the request, or else the other; also `:METHOD`, `:PATH`, `:AUTHORITY`, `:SCHEME` |
//! | `%REQ_WITHOUT_QUERY(A?B)%` | the same up to a question mark |
//! | `%PATH%`, `%PATH(WQ)%`, `%PATH(NQ)%` | the path, with its query or without |
//! | `%RESP(A?B)%` | a header of the response, or else the other; also `:STATUS` |
//! | `%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%` | ms from the request to the head of the response, unless a guard answered |
//! | `%TRAILER(A?B)%` | a trailer of the response, or else the other |
//! | `%PROTOCOL%` | `HTTP/1.1`, `HTTP/2` |
//! | `%RESPONSE_CODE%` | the status; 0 without a response |
//! | `%RESPONSE_CODE_DETAILS%` | Envoy's word for what made the response |
//! | `%RESPONSE_FLAGS%`, `%RESPONSE_FLAGS_LONG%` | [`ResponseFlags`](crate::message::ResponseFlags) |
//! | `%GRPC_STATUS%`, `%GRPC_STATUS(NUMBER)%`, `%GRPC_STATUS_NUMBER%` | the status of a gRPC response |
//! | `%BYTES_RECEIVED%`, `%BYTES_SENT%` | bytes of the bodies |
//! | `%DURATION%`, `%RESPONSE_DURATION%`, `%RESPONSE_TX_DURATION%` | ms to the end; to the head of the response; from there to the end |
//! | `%COMMON_DURATION(START:END:PRECISION)%` | from one time to another: `DS_RX_BEG`, `DS_RX_END`, `US_RX_BEG`, `US_RX_END`, `DS_TX_BEG`, `DS_TX_END`, in `ms`, `us` or `ns`; `-` where one of them is not known or the end comes before the start |
//! | `%REQUEST_DURATION%` | ms from the head of the request to the end of its body, once it was read whole |
//! | `%UPSTREAM_HOST%`, `%UPSTREAM_REMOTE_ADDRESS%`, `%UPSTREAM_LOCAL_ADDRESS%` | ends of the connection of a call; with `_WITHOUT_PORT` the address alone |
//! | `%UPSTREAM_REMOTE_PORT%`, `%UPSTREAM_LOCAL_PORT%` | their ports |
//! | `%UPSTREAM_CLUSTER%`, `%UPSTREAM_CLUSTER_RAW%` | Envoy's name of what is called |
//! | `%UPSTREAM_TRANSPORT_FAILURE_REASON%` | why a call has no connection |
//! | `%UPSTREAM_REQUEST_ATTEMPT_COUNT%` | how often a call was tried; of a request 1, or 0 where a guard answered |
//! | `%UPSTREAM_PROTOCOL%` | the protocol of the connection to the server of a call, also without a response |
//! | `%UPSTREAM_PEER_URI_SAN%`, `%UPSTREAM_PEER_DNS_SAN%`, `%UPSTREAM_PEER_SUBJECT%`, `%UPSTREAM_LOCAL_URI_SAN%`, `%UPSTREAM_TLS_VERSION%`, `%UPSTREAM_TLS_CIPHER%` | of a call over mutual TLS |
//! | `%DOWNSTREAM_REMOTE_ADDRESS%` | the client: what a trusted proxy has told, or the other end of the connection |
//! | `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%`, `%DOWNSTREAM_LOCAL_ADDRESS%`, `%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%` | the ends of the connection; with `_WITHOUT_PORT` the address alone |
//! | `%DOWNSTREAM_REMOTE_PORT%`, `%DOWNSTREAM_DIRECT_REMOTE_PORT%`, `%DOWNSTREAM_LOCAL_PORT%`, `%DOWNSTREAM_DIRECT_LOCAL_PORT%` | their ports |
//! | `%DOWNSTREAM_PEER_URI_SAN%`, `%DOWNSTREAM_PEER_DNS_SAN%`, `%DOWNSTREAM_PEER_SUBJECT%`, `%DOWNSTREAM_PEER_FINGERPRINT_256%`, `%DOWNSTREAM_LOCAL_URI_SAN%`, `%DOWNSTREAM_TLS_VERSION%`, `%DOWNSTREAM_TLS_CIPHER%` | of mutual TLS; subjects and DNS names are `-` after handshakes of this crate, which keep the URI alone |
//! | `%REQUESTED_SERVER_NAME%` | the server name that the caller's TLS asked for |
//! | `%STREAM_ID%` | the request id |
//! | `%ACCESS_LOG_TYPE%` | `DownstreamEnd`; of connections without HTTP `TcpConnectionEnd` |
//! | `%ROUTE_NAME%`, `%TRACE_ID%`, `%SPAN_ID%` | as Envoy's |
//! | `%HOSTNAME%`, `%ENVIRONMENT(NAME)%` | the host's name, which is the pod's; a variable, or `-`; both are read with the format |
//! | `%CONNECTION_TERMINATION_DETAILS%` | `-`: of connections without HTTP |
//!
//! `%REQUEST_HEADER(..)%`, `%RESPONSE_HEADER(..)%` and `%RESPONSE_TRAILER(..)%` are other names of
//! `REQ`, `RESP` and `TRAILER`. Envoy's other operators are refused, each with its reason, which
//! `docs/access-log.md` lists.
//!
//! Sources: Istio's `MeshConfig.accessLogFormat`, and Envoy's documentation of access logs.

mod filter;
mod format;
mod log;
mod logs;
mod sink;
#[cfg(all(feature = "server", feature = "client"))]
mod tag_format;

pub use filter::Filter;
#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
pub(crate) use filter::Test;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use format::Call;
pub use format::FormatError;
#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
pub(crate) use format::{Facts, Measured};
pub use log::{AccessLog, Side};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use logs::connection::{ConnectionEnd, ConnectionLine};
pub use logs::{AccessLogLayer, AccessLogs, LayerLine};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use logs::{Line, Readers};
pub use sink::{LineSink, Sink};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use tag_format::OperatorText;

pub use crate::matcher::path_redaction::TemplateError;
