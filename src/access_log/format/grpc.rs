//! Names of gRPC statuses.

use super::operator::GrpcForm;
use crate::message::GrpcStatus;

/// The name of the status in this form; `None` where it is written as its number, as one that has
/// no name is in Envoy.
pub(super) fn name(status: GrpcStatus, form: GrpcForm) -> Option<&'static str> {
    let (camel, snake) = NAMES.get(usize::try_from(status.code()).ok()?)?;
    match form {
        GrpcForm::Camel => Some(camel),
        GrpcForm::Snake => Some(snake),
        GrpcForm::Number => None,
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
