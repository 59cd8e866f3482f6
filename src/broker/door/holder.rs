//! Who holds a TCP port, as far as `/proc` tells us.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The process that listens where we want to, as `name (pid n)`. `None` if it cannot be found:
/// other users' processes show their sockets to root only.
pub(super) fn of(address: SocketAddr) -> Option<String> {
    // A socket on the IPv6 wildcard takes the IPv4 port as well, and the other way round.
    let tables: &[&str] = match address {
        SocketAddr::V6(address) if !address.ip().is_unspecified() => &["/proc/net/tcp6"],
        _ => &["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let inode = tables.iter().find_map(|table| listening_inode(&fs::read_to_string(table).ok()?, address))?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        holds(&process.path(), &socket).then(|| {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{} (pid {pid})", name.trim())
        })
    })
}

fn holds(process: &Path, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == Path::new(socket)))
}

/// The inode of the socket in a `/proc/net/tcp` table that listens on `address`, or on all
/// addresses with that port; on any, where `address` is the wildcard.
fn listening_inode(table: &str, address: SocketAddr) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (ip, port) = local.split_once(':')?;
        let is_ours = *state == LISTEN
            && u16::from_str_radix(port, 16) == Ok(address.port())
            && (address.ip().is_unspecified()
                || ip.bytes().all(|digit| digit == b'0')
                || is_ip(ip, address.ip()));
        is_ours.then(|| inode.parse().ok())?
    })
}

/// Whether `hex`, words in the machine's byte order, is `ip`. Of IPv6 only the wildcard matters.
fn is_ip(hex: &str, ip: IpAddr) -> bool {
    let IpAddr::V4(ip) = ip else { return false };
    u32::from_str_radix(hex, 16).is_ok_and(|word| Ipv4Addr::from(word.to_ne_bytes()) == ip)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn our_own_listener_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of(listener.local_addr().unwrap()).unwrap();
        let us = format!("(pid {})", std::process::id());
        assert!(holder.ends_with(&us), "{holder}");
        let port = listener.local_addr().unwrap().port();
        for wildcard in ["0.0.0.0", "[::]"] {
            let holder = of(format!("{wildcard}:{port}").parse().unwrap()).unwrap();
            assert!(holder.ends_with(&us), "{wildcard}: {holder}");
        }
    }

    #[test]
    fn the_table_is_searched_for_listeners_on_that_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode\n\
             \x20 0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 11 1 0\n\
             \x20 1: 0100007F:075B 0100007F:C000 01 00000000:00000000 00:00000000 00000000 0 0 12 1 0\n";
        let find = |address: &str| listening_inode(table, address.parse().unwrap());
        assert_eq!(find("127.0.0.1:8080"), Some(11), "a wildcard socket takes every address");
        assert_eq!(find("127.0.0.1:1883"), None, "a connection is no listener");
        assert_eq!(find("127.0.0.1:81"), None);
    }
}
