//! Names of gRPC statuses.

use super::escape::write_number;
use super::operator::GrpcForm;
use super::value::Value;
use crate::message::GrpcStatus;

/// The status in this form. One without a name is its number, as in Envoy.
pub(super) fn write<'a>(scratch: &mut Vec<u8>, status: GrpcStatus, form: GrpcForm) -> Value<'a> {
    let code = u64::from(status.code());
    let named = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    match (form, named) {
        (GrpcForm::Number, _) => Value::Number(code),
        (GrpcForm::Camel, Some((camel, _))) => Value::Text(camel.as_bytes()),
        (GrpcForm::Snake, Some((_, snake))) => Value::Text(snake.as_bytes()),
        (_, None) => {
            write_number(scratch, code);
            Value::Written
        }
    }
}

const NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];
