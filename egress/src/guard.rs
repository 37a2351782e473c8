//! Which addresses may be called: public ones, and those of our own networks that the one who is called may have.
//!
//! A name is resolved once for each connection, and the connection goes to the very addresses that were checked: an answer
//! that is another one the next time (rebinding) is checked the next time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The name of this machine for itself (RFC 6761).
pub(crate) const LOCALHOST: &str = "localhost";

/// What clouds serve their machines in the midst of private networks, metadata above all: Alibaba's, and Volcengine's.
const CLOUDS_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(100, 96, 0, 96)];
/// Likewise Google's, Oracle's and Scaleway's …
const CLOUDS_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];
/// … and the network of Amazon's, which has several.
const AWS: [u16; 2] = [0xfd00, 0xec2];

/// Which addresses may be called. None lets private networks through without refusing what is never a company's
/// service.
#[derive(Clone, Debug)]
pub enum Guard {
    /// Any: the address is the operator's word, and nobody else's.
    Off,
    /// Public ones, and those in these networks: for what is outside as a rule.
    Public(Arc<[IpNet]>),
    /// Public ones and those of private networks, where a company has its own services: for what others name to us.
    /// Never the link, and no service of the cloud for its machines, such as that of metadata.
    Private {
        /// This machine, too.
        loopback: bool,
    },
}

/// An address that may not be called.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// One of our own networks that may be listed.
    #[error("{address} is an address of our own network: list it in allow_addresses if it is meant")]
    Own {
        /// Which.
        address: IpAddr,
    },
    /// One where no service of a company is.
    #[error(
        "{address} is an address of this machine, of the link, of the cloud, or of nobody: it is never called"
    )]
    Never {
        /// Which.
        address: IpAddr,
    },
}

/// Finds the addresses of a name.
pub trait Lookup: Send + Sync + 'static {
    /// All of them, in the order of preference.
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// By the machine's own means.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Lookup for System {
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        Box::pin(async move {
            Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

impl Guard {
    /// Public addresses, and these networks.
    pub fn public_and(networks: &[IpNet]) -> Self {
        Self::Public(networks.into())
    }

    /// Refuses an address that may not be called.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let canonical = address.to_canonical();
        let (passes, refused) = match self {
            Self::Off => return Ok(()),
            Self::Public(networks) => {
                let is_listed = networks.iter().any(|network| network.contains(&canonical));
                (is_listed || is_public(canonical), Refused::Own { address })
            }
            Self::Private { loopback } => {
                let passes = match is_loopback(canonical) {
                    true => *loopback,
                    false => is_public(canonical) || is_private(canonical),
                };
                (passes, Refused::Never { address })
            }
        };
        if passes { Ok(()) } else { Err(refused) }
    }

    /// Whether an address of this machine passes.
    pub(crate) fn passes_loopback(&self) -> bool {
        let own = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        own.into_iter().any(|address| self.check(address).is_ok())
    }
}

/// Resolves names for one client, and gives out what was checked.
pub(crate) struct Checked {
    pub(crate) guard: Guard,
    pub(crate) lookup: Arc<dyn Lookup>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, found) = (self.guard.clone(), self.lookup.lookup(name.as_str()));
        let is_localhost = name.as_str() == LOCALHOST;
        Box::pin(async move {
            let found = found.await?;
            // One bad one among them is a name that somebody plays with.
            found.iter().try_for_each(|address| guard.check(*address))?;
            if let Some(address) = found.iter().find(|address| is_localhost && !is_loopback(**address)) {
                return Err(Refused::Never { address: *address }.into());
            }
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether an address is of a private network, and none of a cloud's own. What a translator leads to one by is none:
/// it has no business there.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let is_shared = is_in(v4, Ipv4Addr::new(100, 64, 0, 0), 10);
            (v4.is_private() || is_shared) && !CLOUDS_V4.contains(&v4)
        }
        IpAddr::V6(v6) => {
            v6.is_unique_local() && !CLOUDS_V6.contains(&v6) && !v6.segments().starts_with(&AWS)
        }
    }
}

/// By IANA's registry of special addresses; what is for machines of clouds and carriers is not public either.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let special: [(Ipv4Addr, u32); 15] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        // Azure's own service on every machine.
        (Ipv4Addr::new(168, 63, 129, 16), 32),
        // Multicast, reserved, broadcast.
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    !special.iter().any(|(network, length)| is_in(address, *network, *length))
}

fn is_in(address: Ipv4Addr, network: Ipv4Addr, length: u32) -> bool {
    (u32::from(address) ^ u32::from(network)).leading_zeros() >= length
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        // NAT64: stands for the address at its end.
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => embedded(g, h),
        // 6to4 likewise.
        (0x2002, _) => embedded(b, c),
        // Protocol assignments (Teredo among them), and documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // All else that is global unicast; so neither loopback, link-local, unique local, site-local nor multicast.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_our_own_networks_are_not_public() {
        for own in [
            "127.0.0.1",
            "127.255.255.255",
            "0.0.0.0",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "100.64.0.1",
            "168.63.129.16",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::127.0.0.1",
            "::10.0.0.1",
            "fe80::1",
            "febf::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fec0::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "2001:db8::1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!public(own), "{own}");
        }
        for other in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "169.253.0.1",
            "100.63.255.255",
            "100.128.0.0",
            "168.63.129.17",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(public(other), "{other}");
        }
    }

    #[test]
    fn the_operators_list_is_by_network() {
        let guard = Guard::public_and(&["10.1.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()]);
        let passes = |text: &str| guard.check(text.parse().unwrap()).is_ok();
        assert!(passes("10.1.2.3") && passes("::ffff:10.1.2.3") && passes("fd00::7") && passes("8.8.8.8"));
        assert!(
            !passes("10.2.0.1") && !passes("fd00:1::7") && !passes("127.0.0.1") && !passes("169.254.169.254")
        );
        assert!(Guard::Off.check("127.0.0.1".parse().unwrap()).is_ok());
    }

    #[test]
    fn private_networks_have_what_is_nobodys_service() {
        let passes = |text: &str, loopback| Guard::Private { loopback }.check(text.parse().unwrap()).is_ok();
        for good in [
            "8.8.8.8",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "100.100.100.201",
            "fd00::7",
            "fd12:3456::1",
            "2606:4700::1111",
            "::ffff:10.1.2.3",
            "64:ff9b::808:808",
        ] {
            assert!(passes(good, false) && passes(good, true), "{good}");
        }
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!passes(own, false) && passes(own, true), "{own}");
        }
        for never in [
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "100.100.100.200",
            "100.96.0.96",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fe80::1",
            "fe80::a9fe:a9fe",
            "fec0::1",
            "::ffff:169.254.169.254",
            "::ffff:100.100.100.200",
            "::ffff:168.63.129.16",
            "::169.254.169.254",
            "::127.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::7f00:1",
            "64:ff9b::6464:64c8",
            "64:ff9b::a01:203",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2002:7f00:1::",
            "2002:a01:203::1",
            "2001::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(!passes(never, false) && !passes(never, true), "{never}");
        }
    }

    proptest! {
        /// However an address of version 4 is put into one of version 6, it is as public as it is.
        #[test]
        fn mapped_addresses_are_what_they_stand_for(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let expected = is_public(v4.into());
            prop_assert_eq!(is_public(v4.to_ipv6_mapped().into()), expected);
            let [a, b] = [(bits >> 16) as u16, (bits & 0xffff) as u16];
            prop_assert_eq!(is_public(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b).into()), expected);
            prop_assert_eq!(is_public(Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1).into()), expected);
            prop_assert!(!is_public(v4.to_ipv6_compatible().into()));
        }
    }
}
