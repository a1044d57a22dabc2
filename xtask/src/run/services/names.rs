//! DNS: dnsmasq and dig.

use anyhow::Result;

use super::{Endpoint, Peer, Program, Service, Site};

/// Name service, over UDP and now and then TCP.
pub(super) const DNS: Service = Service {
    name: "dns",
    implementations: &["dnsmasq", "dig"],
    packages: &["dnsmasq-base", "bind9-dnsutils"],
    endpoints: &[Endpoint::udp(53, "DNS"), Endpoint::tcp(53, "DNS")],
    servers: serve,
    exchange: queries,
    interval: 1.0,
};

fn serve(site: &Site) -> Result<Vec<Program>> {
    let records = "no-daemon
user=root
no-resolv
no-hosts
no-poll
pid-file
local=/example.net/
local=/in-addr.arpa/
local=/ip6.arpa/
host-record=www.example.net,198.51.100.2,2001:db8:2::2
host-record=static.example.net,198.51.100.3,2001:db8:2::3
host-record=mail.example.net,198.51.100.4
address=/cdn.example.net/198.51.100.5
address=/cdn.example.net/2001:db8:2::5
cname=api.example.net,www.example.net
mx-host=example.net,mail.example.net,10
txt-record=example.net,\"v=spf1 mx -all\"
txt-record=long.example.net,\"a record of some length, as keys and policies are, so that answers differ in size\"
srv-host=_sip._udp.example.net,www.example.net,5060,10
ptr-record=2.100.51.198.in-addr.arpa,www.example.net
";
    let file = site.write("dns", "dnsmasq.conf", records)?;
    Ok(vec![Program::new(format!("dnsmasq --conf-file={file}"))])
}

fn queries(_: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    const QUESTIONS: [&str; 12] = [
        "www.example.net A",
        "www.example.net AAAA",
        "example.net MX",
        "static.example.net A",
        "api.example.net AAAA",
        "example.net TXT",
        "-x 198.51.100.2",
        "nothing-here.example.net A",
        "_sip._udp.example.net SRV",
        "e7.cdn.example.net A",
        "long.example.net TXT",
        "mail.example.net A",
    ];
    (0..4)
        .map(|number| {
            let question = QUESTIONS[(4 * round + number) % QUESTIONS.len()];
            let option = ["+nocookie", "+noedns", "+tcp", "+cookie +dnssec"][(round + number) % 4];
            // TCP is the exception in the field: every fourth of its turns here.
            let option = if option == "+tcp" && round % 4 != 1 { "+adflag" } else { option };
            Program::new(format!("dig @{} +tries=2 +time=2 {option} {question}", peer.address))
        })
        .collect()
}
