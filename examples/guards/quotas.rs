//! A rate limit service in some lines, which speaks Envoy's protocol and allows two requests a day
//! for each descriptor. It forgets all when it ends; a real one is
//! <https://github.com/envoyproxy/ratelimit>, which keeps its counts in Redis.
#![expect(clippy::disallowed_types, reason = "a toy of a service")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;

/// How many requests of a descriptor pass on one day.
const A_DAY: u32 = 2;
const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// `envoy.service.ratelimit.v3.RateLimitRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct RateLimitRequest {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(message, repeated, tag = "2")]
    pub descriptors: Vec<Descriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Descriptor {
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct RateLimitResponse {
    #[prost(int32, tag = "1")]
    pub overall_code: i32,
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<DescriptorStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DescriptorStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(message, optional, tag = "2")]
    pub current_limit: Option<CurrentLimit>,
    #[prost(uint32, tag = "3")]
    pub limit_remaining: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct CurrentLimit {
    #[prost(uint32, tag = "1")]
    pub requests_per_unit: u32,
    #[prost(int32, tag = "2")]
    pub unit: i32,
}

const OK: i32 = 1;
const OVER_LIMIT: i32 = 2;
const UNIT_DAY: i32 = 4;

/// How often each descriptor was counted on each day, by the calendar of UTC.
#[derive(Clone, Debug, Default)]
pub struct Quotas(Arc<Mutex<Counts>>);

/// By day and descriptor.
type Counts = HashMap<(u64, Vec<Entry>), u32>;

impl Quotas {
    fn count(&self, descriptor: Descriptor) -> DescriptorStatus {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let today = since.unwrap_or_default().as_secs() / SECONDS_OF_A_DAY;
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((today, descriptor.entries)).or_default();
        *count += 1;
        DescriptorStatus {
            code: if *count > A_DAY { OVER_LIMIT } else { OK },
            current_limit: Some(CurrentLimit {
                requests_per_unit: A_DAY,
                unit: UNIT_DAY,
            }),
            limit_remaining: A_DAY.saturating_sub(*count),
        }
    }
}

impl<B> Service<http::Request<B>> for Quotas
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let quotas = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<RateLimitResponse, RateLimitRequest>::default();
            Ok(Grpc::new(codec).unary(quotas, request).await)
        })
    }
}

impl UnaryService<RateLimitRequest> for Quotas {
    type Response = RateLimitResponse;
    type Future = BoxFuture<tonic::Response<RateLimitResponse>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<RateLimitRequest>) -> Self::Future {
        let descriptors = request.into_inner().descriptors.into_iter();
        let statuses: Vec<_> = descriptors
            .map(|descriptor| self.count(descriptor))
            .collect();
        let over = statuses.iter().any(|status| status.code == OVER_LIMIT);
        Box::pin(async move {
            Ok(tonic::Response::new(RateLimitResponse {
                overall_code: if over { OVER_LIMIT } else { OK },
                statuses,
            }))
        })
    }
}
