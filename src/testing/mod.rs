//! What tests need: a throw-away PKI, a test issuer, requests with a peer and claims in place.
