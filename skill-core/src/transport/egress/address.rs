//! Which addresses are public.
//!
//! Everything but plain unicast is not: every row of the IANA special-purpose registries (as of
//! 2025), multicast, reserved and unopened space, the IPv6 forms that embed an IPv4 address, and
//! the metadata services of clouds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{Ipv4Net, Ipv6Net};

/// Tells whether an address is plain unicast that anyone on the internet may own.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if NAT64.contains(&address) {
        // The one embedding that is unwrapped rather than refused: behind DNS64 every IPv4-only
        // service has such an address, so an IPv6-only deployment could call nothing (RFC 6052, 2.1).
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    GLOBAL_UNICAST.contains(&address)
        && !is_isatap(address)
        && !SPECIAL_V6.iter().any(|net| net.contains(&address))
}

/// ISATAP marks its addresses in the interface id, under any prefix, and tunnels to the IPv4
/// address that follows, by intent one of the operator's own site (RFC 5214, 6.1). The mark may
/// carry the universal bit (`0200:5efe`) and the group bit, hence the mask.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [.., high, low, _, _] = address.segments();
    high & !0x0300 == 0 && low == 0x5efe
}

/// The well-known prefix that NAT64 gateways translate (RFC 6052, 2.1).
static NAT64: LazyLock<Ipv6Net> = LazyLock::new(|| v6("64:ff9b::/96"));

/// All the unicast space that IANA has opened (its IPv6 address space registry; RFC 4291, 2.4).
/// Outside it nothing is routed, so whatever is defined there next is refused until someone looks.
static GLOBAL_UNICAST: LazyLock<Ipv6Net> = LazyLock::new(|| v6("2000::/3"));

/// The IANA IPv4 special-purpose registry (RFC 6890), multicast, and metadata hosts.
///
/// The rows that the registry calls globally reachable (in `192.0.0.0/24`, AS112, AMT) are refused
/// as well: they are anycast, answered by the nearest gateway or relay, which is a machine of the
/// operator's own network, and no service has its API there.
///
/// Most metadata services stand in ranges that are refused anyway: `169.254.169.254` (AWS, Azure,
/// Google and others), `100.100.100.200` (Alibaba), `100.88.222.5` (Tencent),
/// `192.0.0.192` (Oracle Classic).
static SPECIAL_V4: LazyLock<Vec<Ipv4Net>> = LazyLock::new(|| {
    [
        "0.0.0.0/8",       // this network, this host: RFC 791, 3.2; RFC 1122, 3.2.1.3
        "10.0.0.0/8",      // private use: RFC 1918
        "100.64.0.0/10",   // shared address space of carrier NAT: RFC 6598
        "127.0.0.0/8",     // loopback: RFC 1122, 3.2.1.3
        "169.254.0.0/16",  // link local: RFC 3927
        "172.16.0.0/12",   // private use: RFC 1918
        "192.0.0.0/24",    // protocol assignments: RFC 6890, 7335, 7600, 7723, 8155, 8880
        "192.0.2.0/24",    // documentation: RFC 5737
        "192.31.196.0/24", // AS112: RFC 7535
        "192.52.193.0/24", // AMT: RFC 7450
        "192.88.99.0/24",  // 6to4 relay anycast: RFC 7526
        "192.168.0.0/16",  // private use: RFC 1918
        "192.175.48.0/24", // AS112, direct delegation: RFC 7534
        "198.18.0.0/15",   // benchmarking: RFC 2544
        "198.51.100.0/24", // documentation: RFC 5737
        "203.0.113.0/24",  // documentation: RFC 5737
        "224.0.0.0/4",     // multicast: RFC 5771
        "240.0.0.0/4",     // class E and limited broadcast: RFC 1112, 4; RFC 919, 7
        // Azure's wire server hands out machine configuration from an address that looks public:
        // https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "168.63.129.16/32",
        // The metadata service of Equinix Metal, once Packet: metadata.packet.net is this address.
        "192.80.8.124/32",
    ]
    .map(v4)
    .into()
});

/// The IANA IPv6 special-purpose registry (RFC 6890) and what other RFCs set aside.
///
/// Complete by itself although [`GLOBAL_UNICAST`] refuses much of it first, so that widening that
/// prefix opens none of these. Ranges that embed an IPv4 address are refused outright: no service
/// on the internet has its API behind them. The IPv6 metadata addresses of AWS (`fd00:ec2::254`),
/// Google (`fd20:ce::254`) and Scaleway (`fd00:42::42`) are unique local.
static SPECIAL_V6: LazyLock<Vec<Ipv6Net>> = LazyLock::new(|| {
    [
        "::/96",             // unspecified, loopback, IPv4-compatible: RFC 4291, 2.5
        "::ffff:0:0/96",     // IPv4-mapped: RFC 4291, 2.5.5.2
        "::ffff:0:0:0/96",   // IPv4-translated: RFC 2765, 2.1
        "64:ff9b:1::/48",    // local-use translation: RFC 8215
        "100::/64",          // discard only: RFC 6666
        "100:0:0:1::/64",    // dummy prefix: RFC 9780
        "2001::/23",         // protocol assignments, Teredo first among them: RFC 2928, 4380
        "2001:db8::/32",     // documentation: RFC 3849
        "2002::/16",         // 6to4, deprecated with its relays: RFC 3056, 7526
        "2620:4f:8000::/48", // AS112, direct delegation: RFC 7534
        "3fff::/20",         // documentation: RFC 9637
        "5f00::/16",         // segment routing: RFC 9602
        "fc00::/7",          // unique local: RFC 4193
        "fe80::/10",         // link local: RFC 4291, 2.5.6
        "fec0::/10",         // site local, deprecated but still configured: RFC 3879
        "ff00::/8",          // multicast: RFC 4291, 2.7
    ]
    .map(v6)
    .into()
});

fn v4(text: &str) -> Ipv4Net {
    text.parse().expect("the table holds IPv4 networks")
}

fn v6(text: &str) -> Ipv6Net {
    text.parse().expect("the table holds IPv6 networks")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The registries as IANA publishes them, row by row, plus the ranges that are not in them.
    const REFUSED: &str = "0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 \
        169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 \
        192.0.0.10/32 192.0.0.170/31 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 \
        192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 \
        255.255.255.255/32 224.0.0.0/4 168.63.129.16/32 192.80.8.124/32 100.100.100.200/32 192.0.0.192/32 100.88.222.5/32 \
        ::1/128 ::/128 ::ffff:0:0/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 \
        2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 \
        2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 \
        5f00::/16 fc00::/7 fe80::/10 ::/96 ::ffff:0:0:0/96 fec0::/10 ff00::/8 fd00:ec2::254/128 \
        64:ff9b::7f00:0/104 64:ff9b::a9fe:0/112 2a00::5efe:808:808/128 4000::/3 8000::/1 ::/8";

    /// The nearest addresses on both sides of each range that has public neighbors.
    const PUBLIC: &str = "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 \
        126.255.255.255 128.0.0.0 168.63.129.15 168.63.129.17 192.80.8.123 192.80.8.125 169.253.255.255 169.255.0.0 \
        172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0 192.31.195.255 \
        192.31.197.0 192.52.192.255 192.52.194.0 192.88.98.255 192.88.100.0 192.167.255.255 \
        192.169.0.0 192.175.47.255 192.175.49.0 198.17.255.255 198.20.0.0 198.51.99.255 \
        198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 64:ff9b::8.8.8.8 \
        2000:: 2000:ffff::1 2001:200:: 2001:db7:ffff:: 2001:db9:: 2001:ffff::1 2003:: \
        2620:4f:7fff::1 2620:4f:8001:: 3ffe:ffff::1 2606:4700::1111";

    #[test]
    fn the_first_and_last_address_of_every_special_range_are_refused() {
        for row in REFUSED.split_whitespace() {
            let net: ipnet::IpNet = row.parse().unwrap();
            assert!(!is_public(net.network()), "{row}");
            assert!(!is_public(net.broadcast()), "{row}");
        }
    }

    #[test]
    fn the_neighbors_of_special_ranges_are_public() {
        for address in PUBLIC.split_whitespace() {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    proptest! {
        #[test]
        fn a_private_ipv4_address_is_refused_in_every_embedding(row in 0..SPECIAL_V4.len(), bits: u32) {
            let net = SPECIAL_V4[row];
            let host = u32::from(net.network()) | (bits & u32::from(net.hostmask()));
            let [a, b, c, d] = host.to_be_bytes().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            prop_assert!(!is_public(Ipv4Addr::from(host).into()));
            for form in [
                [0, 0, 0, 0, 0, 0xffff, high, low],            // mapped
                [0, 0, 0, 0, 0, 0, high, low],                 // compatible
                [0, 0, 0, 0, 0xffff, 0, high, low],            // translated
                [0x64, 0xff9b, 0, 0, 0, 0, high, low],         // NAT64
                [0x64, 0xff9b, 1, 0, 0, 0, high, low],         // NAT64, local use
                [0x2002, high, low, 0, 0, 0, 0, 1],            // 6to4
                [0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !high, !low], // Teredo client
                [0x2001, 0, high, low, 0, 0, 0, 0],            // Teredo server
                [0x2a00, 1, 2, 3, 0, 0x5efe, high, low],       // ISATAP
                [0x2a00, 1, 2, 3, 0x0200, 0x5efe, high, low],  // ISATAP, universal
            ] {
                prop_assert!(!is_public(Ipv6Addr::from(form).into()), "{form:x?}");
            }
        }
    }
}
