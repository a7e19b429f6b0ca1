//! The codes of notes: name, severity, summary and fixtures, one row each.

use std::fmt;
use std::str::FromStr;

use crate::istio::distance;

/// How much a [`Note`](crate::vet::Note) matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It does not do what is written: a command that vets fails.
    Error,
    /// It does what is written, and that is probably not what was meant, or it will surprise.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares the codes: each with its name, its severity, and what it is about in a sentence.
macro_rules! codes {
    ($($variant:ident $name:literal $severity:ident $summary:literal)*) => {
        /// What a [`Note`](crate::vet::Note) is about. Names are stable: annotations and scripts
        /// use them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $summary] $variant,)*
        }

        impl Code {
            /// Every code, by name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// How much it matters.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)*
                }
            }

            /// Resources that get the note, and the same resources corrected.
            pub(super) fn examples(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$variant => (
                        include_str!(concat!("../../../tests/vet/", $name, "/fires.yaml")),
                        include_str!(concat!("../../../tests/vet/", $name, "/silent.yaml")),
                    ),)*
                }
            }

            /// What it is about.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self {
                    $(Self::$variant => $summary,)*
                }
            }
        }
    };
}

codes! {
    AdmitsEveryIdentity "admits-every-identity" Warning
        "A wildcard of an ALLOW rule admits every identity there is."
    AgelessPeerAuthentication "ageless-peer-authentication" Error
        "Two PeerAuthentications, or two Policies of 2018, cover the same, and nothing says which is the older."
    AllowAlwaysDenied "allow-always-denied" Warning
        "An ALLOW rule allows only what a DENY rule refuses."
    BindingWithoutRole "binding-without-role" Error
        "A ServiceRoleBinding names a ServiceRole that its namespace does not have."
    ClaimHeaderReserved "claim-header-reserved" Error
        "A claim is written to a header that no claim may fill."
    DelegateConflict "delegate-conflict" Error
        "A delegate's route can never match under the route that delegates to it, and is dropped."
    DelegateNotFound "delegate-not-found" Error
        "A route delegates to a VirtualService that is not there, and is dropped."
    DelegateUnused "delegate-unused" Warning
        "No route delegates to a VirtualService without hosts."
    DeniesEverything "denies-everything" Error
        "A DENY rule refuses every request."
    DenyExactPath "deny-exact-path" Warning
        "A DENY rule names a path exactly, and a path parameter or a slash more gets around it."
    DestinationUnknown "destination-unknown" Error
        "A route sends calls to a host that no Service or ServiceEntry has."
    DestinationWithoutWeight "destination-without-weight" Warning
        "A destination has no weight beside others that have, and gets no call."
    DuplicateResource "duplicate-resource" Error
        "Two resources of one kind have the same namespace and name."
    DuplicateRule "duplicate-rule" Warning
        "Two rules match the same requests and do the same."
    EjectsNobody "ejects-nobody" Warning
        "Outlier detection may eject so small a part of the endpoints that it ejects none."
    EmptySelector "empty-selector" Warning
        "A selector without labels selects every workload."
    ExpressionConstant "expression-constant" Warning
        "A rule in CEL gives every request the same answer."
    FailoverWithoutOutlierDetection "failover-without-outlier-detection" Error
        "Failover between localities is written without outlierDetection, and has no effect."
    GetWithoutHead "get-without-head" Warning
        "GET is denied and HEAD, which runs the same handler, is not."
    GrpcNotPost "grpc-not-post" Warning
        "A gRPC method is asked for with another HTTP method than POST."
    HostRoutedTwice "host-routed-twice" Error
        "Two VirtualServices of a mesh have the same host, and the routes of one do not count."
    HostWithoutPort "host-without-port" Warning
        "A host is written without the form that a client sends with a port."
    HttpOnTcpPort "http-on-tcp-port" Warning
        "A rule asks for HTTP on a port that speaks another protocol."
    IdentityInPermissive "identity-in-permissive" Warning
        "A rule asks for the caller's identity where plaintext, which has none, is accepted."
    IdentityWithoutMtls "identity-without-mtls" Error
        "A rule asks for the caller's identity where mutual TLS is off."
    JwksOverHttp "jwks-over-http" Error
        "The keys of an issuer are fetched over plain HTTP."
    JwksUnusable "jwks-unusable" Error
        "A key set holds no key that can verify a token."
    JwtSvidKeysFromMesh "jwt-svid-keys-from-mesh" Warning
        "A rule for JWT-SVIDs has no keys, and a mesh without the domain's bundle refuses it."
    JwtSvidPrincipal "jwt-svid-principal" Warning
        "A request principal is written so that it does not match JWT-SVIDs of Istio's form."
    JwtWithoutAudiences "jwt-without-audiences" Warning
        "A JWT rule accepts tokens that were made for others."
    LegacyIgnored "legacy-ignored" Warning
        "A resource of 2018 is ignored, because one of today speaks of the same workload."
    LimitFailsOpen "limit-fails-open" Warning
        "Requests pass uncounted while a rate limit service cannot be asked."
    LimitKeyFromCaller "limit-key-from-caller" Warning
        "A limit counts by what the caller chooses, so that another value, or none, avoids it."
    LimitLostAtRestart "limit-lost-at-restart" Warning
        "A process counts over a day or longer, and forgets it when it ends."
    LimitNeverApplies "limit-never-applies" Error
        "No request reaches a bucket, since nothing makes its entries."
    LimitReportOnly "limit-report-only" Warning
        "A rate limit counts and refuses nothing."
    MeshRefuses "mesh-refuses" Error
        "A mesh does not start with this configuration."
    MeshWarns "mesh-warns" Warning
        "A mesh that starts with this configuration warns of it."
    MethodLowerCase "method-lower-case" Error
        "An HTTP method is not in upper case, as methods are compared."
    MethodUnknown "method-unknown" Warning
        "An HTTP method is none that is registered."
    NegativeInAllow "negative-in-allow" Warning
        "An ALLOW rule depends on something absent, and allows every request without it."
    PathEncoded "path-encoded" Warning
        "A path holds an encoded character, and the same path can be spelled otherwise."
    PathNotNormalized "path-not-normalized" Error
        "A path is written as no request's path is after normalization."
    PathWithoutSlash "path-without-slash" Error
        "A path does not start with a slash, as every request's does."
    PeerSelectorInRoot "peer-selector-in-root" Warning
        "A PeerAuthentication of the root namespace has a selector, and is ignored."
    PlaintextToStrict "plaintext-to-strict" Error
        "A DestinationRule turns TLS off towards a server that demands mutual TLS."
    PositiveInDeny "positive-in-deny" Warning
        "A DENY rule depends on what the caller sends, and lets a caller pass who leaves it out."
    PrivateKeyInJwks "private-key-in-jwks" Error
        "A key set holds a key that tokens can be forged with."
    ProviderBodyLarge "provider-body-large" Warning
        "A provider is sent so much of a request's body that waiting requests fill the memory."
    ProviderDefinedTwice "provider-defined-twice" Error
        "Two sources define a provider of one name, and neither is asked."
    ProviderErrorStatus "provider-error-status" Error
        "A request that is refused because a provider cannot be asked looks as if it had succeeded."
    ProviderFailsOpen "provider-fails-open" Warning
        "Requests pass while a provider cannot be asked."
    ProviderHeaderRefused "provider-header-refused" Error
        "A provider is meant to set a header that no provider may set."
    ProviderNotAsked "provider-not-asked" Error
        "A CUSTOM policy is for a port where its provider is not asked, so that connections pass without it."
    ProviderRouteCache "provider-route-cache" Warning
        "A provider's clearRouteCache has no effect."
    ProviderUnused "provider-unused" Warning
        "No CUSTOM policy names a provider."
    ProviderWithoutTimeout "provider-without-timeout" Warning
        "A provider has no timeout, and a request waits for it up to 600 s."
    RbacNotSwitchedOn "rbac-not-switched-on" Error
        "There are roles and bindings, and no ClusterRbacConfig that enforces them."
    RedundantValue "redundant-value" Warning
        "A value of a list says what another one says."
    RequestPrincipalWithoutIssuer "request-principal-without-issuer" Error
        "A request principal is of an issuer whose tokens are not accepted."
    RetryNotIdempotent "retry-not-idempotent" Warning
        "Calls that may not be done twice are retried after a server may have done them."
    RetryTimeoutTooLong "retry-timeout-too-long" Warning
        "A single try may last as long as the whole call, so that a timeout is never retried."
    RoleUnbound "role-unbound" Warning
        "A ServiceRole has no binding."
    RouteUnreachable "route-unreachable" Error
        "A route, or a match of one, is never reached, since an earlier one takes all of it."
    RuleNeverMatches "rule-never-matches" Error
        "A rule, or a part of one, can never match."
    SelectorMatchesNothing "selector-matches-nothing" Warning
        "A selector matches none of the known workloads."
    ServiceHidden "service-hidden" Warning
        "No namespace sees a service that is routed or balanced."
    SeveralProviders "several-providers" Error
        "A workload has several of MeshConfig's providers, so that what their rules match is refused."
    ShadowedRule "shadowed-rule" Warning
        "A rule matches nothing that a broader one does not match, too."
    SilenceInvalid "silence-invalid" Error
        "An annotation that should silence notes gives no reason, or names no code."
    SilenceUnused "silence-unused" Warning
        "An annotation silences a note that is not there."
    SubsetUndefined "subset-undefined" Error
        "A route sends calls to a subset that no DestinationRule defines."
    TakenLiterally "taken-literally" Warning
        "A star, a blank or a placeholder in a value is taken literally."
    TargetRefsElsewhere "target-refs-elsewhere" Warning
        "A resource is attached by targetRefs to what is no workload of the mesh, and is for none."
    TlsToPlainPort "tls-to-plain-port" Warning
        "A DestinationRule puts calls into TLS towards a Service whose ports are plain HTTP."
    TokenNotRequired "token-not-required" Warning
        "Tokens are checked when they are sent, and no policy demands one."
    TokenWithoutAuthentication "token-without-authentication" Error
        "A rule asks for a token's facts where no RequestAuthentication accepts tokens."
    TrafficPolicyTwice "traffic-policy-twice" Error
        "Two DestinationRules of one namespace have a trafficPolicy for the same host."
    TypographicQuotes "typographic-quotes" Error
        "A value is in a word processor's quotation marks."
    UnguardedWorkload "unguarded-workload" Warning
        "No policy that allows selects a known workload, so that everything is allowed."
    UnknownProvider "unknown-provider" Error
        "A CUSTOM policy names a provider that nothing defines."
    ValueNeverMatches "value-never-matches" Error
        "A value is written in a way that nothing ever has."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        let found = Self::ALL.iter().find(|code| code.as_str() == name);
        found.copied().ok_or_else(|| UnknownCode(name.to_owned()))
    }
}

/// A name that no [`Code`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCode(String);

impl UnknownCode {
    /// The codes whose names are nearest, three at most, the nearest first; none when no name is
    /// near.
    #[must_use]
    pub fn near(&self) -> Vec<Code> {
        let shares_word = |code: &Code| {
            let mut words = self.0.split(['-', '_']).filter(|word| word.len() > 2);
            words.any(|word| code.as_str().split('-').any(|own| own == word))
        };
        if self.0.len() > LONGEST {
            return Vec::new();
        }
        let mut near: Vec<_> = Code::ALL
            .iter()
            .map(|code| (distance(&self.0, code.as_str()), *code))
            .filter(|(distance, code)| *distance <= code.as_str().len() / 3 || shares_word(code))
            .collect();
        near.sort_by_key(|(distance, _)| *distance);
        near.into_iter().take(3).map(|(_, code)| code).collect()
    }
}

/// A longer name is no slip of the pen, and the distance costs its square.
const LONGEST: usize = 64;

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no code of a note", self.0)
    }
}

impl std::error::Error for UnknownCode {}
