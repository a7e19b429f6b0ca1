//! Guard that asks the policy engine: AuthorizationPolicy.
