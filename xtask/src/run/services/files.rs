//! FTP: vsftpd and curl. TFTP: tftpd-hpa and curl. rsync: its daemon and client.

use anyhow::Result;

use super::{Endpoint, Peer, Program, Service, Site, Transport, sized_files};

/// File transfer with a data connection of its own, up and down, passive and active.
pub(super) const FTP: Service = Service {
    name: "ftp",
    implementations: &["vsftpd", "curl"],
    packages: &["vsftpd", "curl"],
    endpoints: &[
        Endpoint::tcp(21, "FTP_CONTROL"),
        Endpoint::tcp(20, "FTP_DATA"),
        Endpoint::range(Transport::Tcp, 0x7500, "FTP_DATA"),
    ],
    servers: serve_ftp,
    exchange: transfer,
    interval: 2.0,
};

/// Trivial file transfer; the server answers from a port of its own.
pub(super) const TFTP: Service = Service {
    name: "tftp",
    implementations: &["in.tftpd", "curl"],
    packages: &["tftpd-hpa", "curl"],
    endpoints: &[Endpoint::udp(69, "TFTP"), Endpoint::range(Transport::Udp, 0x7600, "TFTP")],
    servers: serve_tftp,
    exchange: boot,
    interval: 3.0,
};

/// Bulk transfer: whole folders, then only what differs.
pub(super) const RSYNC: Service = Service {
    name: "rsync",
    implementations: &["rsync"],
    packages: &["rsync"],
    endpoints: &[Endpoint::tcp(873, "RSYNC")],
    servers: serve_rsync,
    exchange: synchronise,
    interval: 5.0,
};

fn serve_ftp(site: &Site) -> Result<Vec<Program>> {
    let folder = site.folder("ftp")?;
    sized_files(&folder.join("pub"), &[700, 30_000, 400_000, 20_000_000])?;
    let uploads = folder.join("pub/incoming");
    std::fs::create_dir_all(&uploads)?;
    std::fs::set_permissions(&uploads, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let empty = site.folder("ftp/empty")?;
    let configuration = format!(
        "listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
local_enable=NO
write_enable=YES
anon_upload_enable=YES
anon_umask=022
no_anon_password=YES
anon_root={}
secure_chroot_dir={}
ftp_username=ftp
nopriv_user=nobody
connect_from_port_20=YES
pasv_min_port={}
pasv_max_port={}
xferlog_enable=NO
seccomp_sandbox=NO
",
        folder.join("pub").display(),
        empty.display(),
        0x7500,
        0x75ff
    );
    let file = site.write("ftp", "vsftpd.conf", configuration)?;
    Ok(vec![Program::new(format!("vsftpd {file}"))])
}

fn transfer(site: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let curl = |options: String| Program::new(format!("curl -sS --max-time 9 -o /dev/null {options}"));
    let url = format!("ftp://{}", peer.host);
    match round % 4 {
        0 => vec![curl(format!("{url}/")), curl(format!("{url}/{}", 1 + round % 3))],
        1 => vec![curl(format!("-T {} {url}/incoming/{}-{round}", site.path("ftp", "pub/3"), peer.version))],
        2 => vec![curl(format!("{url}/1 -o /dev/null {url}/2 -o /dev/null {url}/3"))],
        _ => vec![curl(format!("--ftp-port - {url}/2")), curl(format!("{url}/4"))],
    }
}

fn serve_tftp(site: &Site) -> Result<Vec<Program>> {
    let folder = site.folder("tftp")?;
    sized_files(&folder, &[400, 9_000, 120_000])?;
    let line = |address: &str| {
        Program::new(format!(
            "in.tftpd -L -p -u nobody -R {}:{} -a {address}:69 -s {}",
            0x7600,
            0x76ff,
            folder.display()
        ))
    };
    Ok(vec![line("198.51.100.2"), line("[2001:db8:2::2]")])
}

fn boot(_: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let size = [512, 1428][round % 2];
    vec![Program::new(format!(
        "curl -sS --max-time 9 -o /dev/null --tftp-blksize {size} tftp://{}/{}",
        peer.host,
        1 + round % 3
    ))]
}

fn serve_rsync(site: &Site) -> Result<Vec<Program>> {
    let folder = site.folder("rsync")?;
    sized_files(&folder.join("data"), &[500, 5_000, 50_000, 500_000, 8_000_000])?;
    let configuration = format!(
        "use chroot = no\nuid = root\ngid = root\npid file = /run/rsyncd.pid\n[data]\npath = {}\nread only = no\n",
        folder.join("data").display()
    );
    let file = site.write("rsync", "rsyncd.conf", configuration)?;
    Ok(vec![Program::new(format!("rsync --daemon --no-detach --config={file}"))])
}

fn synchronise(site: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let mirror = site.path("rsync", &format!("mirror{}", peer.version));
    let share = format!("rsync://{}/data/", peer.host);
    let option = ["-a", "-ac", "-az --ignore-times"][round / 2 % 3];
    vec![Program::new(format!("rsync {share}")), Program::new(format!("rsync {option} {share} {mirror}/"))]
}
