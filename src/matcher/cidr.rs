use std::net::IpAddr;

/// A range of addresses of one family; host bits are masked away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// A text that is neither an address nor a CIDR range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrError(());
