//! OTLP's signal of logs.

use std::future::Future;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::client::{Signal, scope};
use crate::propagation::export::batch::Partial;

/// OTLP's path for logs.
pub(crate) const LOGS: &str = "/v1/logs";

/// A request with these records.
pub(crate) fn logs_request(
    resource: Option<Resource>,
    log_records: Vec<LogRecord>,
) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource,
            scope_logs: vec![ScopeLogs {
                scope: Some(scope()),
                log_records,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// An attribute with a text.
pub(crate) fn text(name: &str, value: impl Into<String>) -> KeyValue {
    attribute(name, Value::StringValue(value.into()))
}

/// An attribute.
pub(crate) fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// OTLP's logs.
pub(crate) struct Logs;

impl Signal for Logs {
    const NAME: &'static str = "LOGS";

    type Request = ExportLogsServiceRequest;
    type Response = ExportLogsServiceResponse;

    fn call(
        channel: Channel,
        request: Request<Self::Request>,
    ) -> impl Future<Output = Result<Response<Self::Response>, Status>> + Send {
        let mut client = LogsServiceClient::new(channel);
        async move { client.export(request).await }
    }

    fn partial(response: Self::Response) -> Partial {
        let partial = response.partial_success.unwrap_or_default();
        Partial {
            rejected: u64::try_from(partial.rejected_log_records).unwrap_or(0),
            message: partial.error_message,
        }
    }
}
