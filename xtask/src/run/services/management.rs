//! NTP: chrony and ntpdig. SSH: OpenSSH. SNMP: Net-SNMP.

use anyhow::Result;

use super::{Endpoint, Peer, Program, Service, Site, sized_files};

/// Network time. Nobody's clock is set: the server does not control one, the clients only ask.
pub(super) const NTP: Service = Service {
    name: "ntp",
    implementations: &["chronyd", "ntpdig"],
    packages: &["chrony", "ntpsec-ntpdig"],
    endpoints: &[Endpoint::udp(123, "NTP")],
    servers: serve_ntp,
    exchange: ask_time,
    interval: 1.5,
};

/// Remote shell and file copy.
pub(super) const SSH: Service = Service {
    name: "ssh",
    implementations: &["sshd", "ssh", "scp"],
    packages: &["openssh-server", "openssh-sftp-server", "openssh-client"],
    endpoints: &[Endpoint::tcp(22, "SSH")],
    servers: serve_ssh,
    exchange: log_in,
    interval: 1.5,
};

/// Network management.
pub(super) const SNMP: Service = Service {
    name: "snmp",
    implementations: &["snmpd", "snmpget", "snmpwalk", "snmpbulkwalk", "snmpgetnext", "snmpbulkget"],
    packages: &["snmpd", "snmp"],
    endpoints: &[Endpoint::udp(161, "SNMP")],
    servers: serve_snmp,
    exchange: poll,
    interval: 1.2,
};

fn serve_ntp(site: &Site) -> Result<Vec<Program>> {
    let configuration = "local stratum 3\nallow all\ncmdport 0\nbindcmdaddress /\npidfile /run/chronyd.pid\n";
    let file = site.write("ntp", "chrony.conf", configuration)?;
    // -x: leave the machine's clock alone.
    Ok(vec![Program::new(format!("chronyd -x -d -u root -f {file}"))])
}

fn ask_time(_: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let burst = Program::new("chronyd -x -Q -u root -t 8")
        .arg(format!("server {} iburst maxsamples 1", peer.address))
        .arg("cmdport 0")
        .arg("pidfile /run/chronyd-client.pid");
    let ask = Program::new(format!("ntpdig -{} -t 3 {}", peer.version, peer.address));
    if round.is_multiple_of(3) { vec![ask, burst] } else { vec![ask] }
}

fn serve_ssh(site: &Site) -> Result<Vec<Program>> {
    let folder = site.folder("ssh")?;
    sized_files(&folder, &[1_000, 40_000, 900_000])?;
    let path = |file: &str| site.path("ssh", file);
    for key in ["host", "id"] {
        site.prepare("ssh", &Program::new(format!("ssh-keygen -q -t ed25519 -f {} -N", path(key))).arg(""))?;
    }
    let configuration = format!(
        "Port 22
HostKey {}
AuthorizedKeysFile {}
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
PrintMotd no
PrintLastLog no
MaxStartups 100
Subsystem sftp internal-sftp
",
        path("host"),
        path("id.pub")
    );
    let file = site.write("ssh", "sshd_config", configuration)?;
    // sshd wants its empty folder; the host's /run is its own.
    Ok(vec![Program::shell(format!("mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -f {file}"))])
}

fn log_in(site: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let options = format!(
        "-{} -q -i {} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5",
        peer.version,
        site.path("ssh", "id")
    );
    let shell = |command: &str| Program::new(format!("ssh {options} root@{}", peer.address)).arg(command);
    match round % 4 {
        0 => vec![shell("uname -a; uptime; ls -l /usr/bin | head -n 40")],
        1 => {
            let from = site.path("ssh", &(1 + round % 3).to_string());
            vec![Program::new(format!("scp {options} root@{}:{from} /dev/null", peer.host))]
        }
        // Someone at a prompt: a few lines with pauses in between.
        2 => vec![shell("for i in 1 2 3 4 5; do date; sleep 0.3; done; ls -R /etc | head -n 200")],
        _ => vec![shell("true"), shell("cat > /dev/null").input("line\n".repeat(4000))],
    }
}

fn serve_snmp(site: &Site) -> Result<Vec<Program>> {
    let configuration =
        "rocommunity public\nrocommunity6 public\nsysLocation test network\nsysContact admin@example.net\n";
    let file = site.write("snmp", "snmpd.conf", configuration)?;
    let state = site.path("snmp", "state");
    Ok(vec![
        Program::new(format!("snmpd -f -Lo -C -c {file} udp:161 udp6:161")).env("SNMP_PERSISTENT_DIR", state),
    ])
}

fn poll(site: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let agent =
        if peer.version == 4 { format!("udp:{}", peer.address) } else { format!("udp6:{}", peer.host) };
    let ask = |verb: &str, version: &str, object: &str| {
        Program::new(format!("{verb} -v {version} -c public -t 2 -r 1 -On {agent} {object}"))
            .env("MIBS", "")
            .env("SNMP_PERSISTENT_DIR", site.path("snmp", "client"))
    };
    const SYSTEM: &str = ".1.3.6.1.2.1.1";
    const INTERFACES: &str = ".1.3.6.1.2.1.2";
    match round % 4 {
        0 => vec![ask("snmpget", "2c", &format!("{SYSTEM}.1.0 {SYSTEM}.3.0")), ask("snmpwalk", "2c", SYSTEM)],
        1 => vec![ask("snmpget", "1", &format!("{SYSTEM}.5.0")), ask("snmpbulkwalk", "2c", INTERFACES)],
        2 => vec![
            ask("snmpgetnext", "2c", &format!("{INTERFACES}.1")),
            ask("snmpget", "2c", &format!("{SYSTEM}.3.0")),
        ],
        _ => vec![ask("snmpwalk", "1", INTERFACES), ask("snmpbulkget", "2c", INTERFACES)],
    }
}
