//! Whether a device hands over packets that were several on the wire.

use std::{collections::BTreeSet, io, os::fd::AsRawFd as _};

use rustix::net::{AddressFamily, SocketType};

/// ethtool's requests and its set of feature names (include/uapi/linux/ethtool.h).
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETH_SS_FEATURES: u32 = 4;
/// Length of a name.
const ETH_GSTRING_LEN: usize = 32;

/// Features that merge packets: by the kernel, by the card, by the card as the kernel would.
const MERGING: [(&str, &str); 3] = [("rx-gro", "GRO"), ("rx-lro", "LRO"), ("rx-gro-hw", "hardware GRO")];

/// What merges packets on a device.
///
/// # Errors
/// It cannot be asked.
pub fn merging(interface: &str) -> io::Result<Vec<&'static str>> {
    let active = active(interface)?;
    Ok(MERGING.iter().filter(|(name, _)| active.contains(*name)).map(|(_, called)| *called).collect())
}

/// Features that are on, by the names that `ethtool -k` has for them inside the kernel.
fn active(interface: &str) -> io::Result<BTreeSet<String>> {
    // struct ethtool_sset_info: command, reserved, mask of sets in two words, length of the one set.
    let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
    ask(interface, &mut info)?;
    let features = info[4] as usize;
    // struct ethtool_gstrings: command, set, length, names.
    let mut strings = vec![0; 3 + features * ETH_GSTRING_LEN / 4];
    strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, features as u32]);
    ask(interface, &mut strings)?;
    // struct ethtool_gfeatures: command, blocks, and for each 32 features: available, requested, active, fixed.
    let blocks = features.div_ceil(32);
    let mut bits = vec![0; 2 + blocks * 4];
    bits[..2].copy_from_slice(&[ETHTOOL_GFEATURES, blocks as u32]);
    ask(interface, &mut bits)?;
    let names: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let names = names.chunks_exact(ETH_GSTRING_LEN).enumerate();
    let on = names.filter(|(at, _)| bits[2 + at / 32 * 4 + 2] & 1 << (at % 32) != 0);
    let name = |name: &[u8]| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    Ok(on.map(|(_, bytes)| name(bytes)).collect())
}

/// One request of ethtool; the answer takes its place.
fn ask(interface: &str, request: &mut [u32]) -> io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: all zero is an ifreq.
    let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= ifreq.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    ifreq.ifr_ifru.ifru_data = request.as_mut_ptr().cast();
    // The request's number has another type with musl.
    // SAFETY: the ifreq has a terminated name and points to a request that lives for the call, with the room that its
    // length fields tell of.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as libc::Ioctl, &raw mut ifreq) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_has_features() {
        // Every network namespace has one, and no privilege is asked for.
        let features = super::active("lo").expect("ethtool knows lo");
        assert!(features.contains("rx-gro"), "{features:?}");
        assert!(super::active("no-such-device").is_err());
    }
}
