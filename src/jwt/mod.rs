//! Guard for end-user tokens: RequestAuthentication.
