//! SIP with RTP: SIPp. STUN: coturn.

use anyhow::Result;

use super::{Endpoint, Peer, Program, Service, Site, Transport, noise};

/// First media port of the called side; SIPp takes the next even ones if it is in use.
const MEDIA: u16 = 0x7700;

/// Calls: signalling on port 5060, speech both ways on a media port.
pub(super) const SIP: Service = Service {
    name: "sip",
    implementations: &["sipp"],
    packages: &["sip-tester"],
    endpoints: &[Endpoint::udp(5060, "SIP"), Endpoint::range(Transport::Udp, MEDIA, "RTP")],
    servers: serve_sip,
    exchange: call,
    interval: 2.0,
};

/// Address discovery, as telephones and browsers do it.
pub(super) const STUN: Service = Service {
    name: "stun",
    implementations: &["turnserver", "turnutils_stunclient"],
    packages: &["coturn"],
    endpoints: &[Endpoint::udp(3478, "STUN")],
    servers: serve_stun,
    exchange: discover,
    interval: 1.5,
};

/// The calling side: INVITE, ACK, two seconds of G.711 speech, BYE.
const CALLER: &str = include_str!("call.xml");

fn serve_sip(site: &Site) -> Result<Vec<Program>> {
    // A-law samples; what is said does not matter, only when and how much.
    let speech = site.write("sip", "speech.alaw", noise(8_000 * 3))?;
    site.write("sip", "caller.xml", CALLER.replace("SPEECH", &speech))?;
    // The called side answers with SIPp's own scenario and sends the speech back.
    let callee = |address: &str| {
        Program::new(format!(
            "sipp -sn uas -i {address} -mi {address} -p 5060 -mp {MEDIA} -rtp_echo -nostdin -trace_err"
        ))
        .env("TERM", "dumb")
    };
    Ok(vec![callee("198.51.100.2"), callee("2001:db8:2::2")])
}

fn call(site: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let port = 16_384 + 20 * (round % 200);
    vec![
        Program::new(format!(
            "sipp {}:5060 -sf {} -i {} -mi {} -p {} -s bob -m 1 -l 1 -nostdin -timeout 8 -timeout_error \
             -mp {port}",
            peer.host,
            site.path("sip", "caller.xml"),
            peer.own,
            peer.own,
            5062 + 2 * (round % 200)
        ))
        .env("TERM", "dumb"),
    ]
}

fn serve_stun(site: &Site) -> Result<Vec<Program>> {
    let folder = site.folder("stun")?.display().to_string();
    Ok(vec![Program::new(format!(
        "turnserver -n -L 198.51.100.2 -L 2001:db8:2::2 --listening-port 3478 --no-tls --no-dtls --no-tcp --no-cli \
         --no-rfc5780 --stun-only --userdb {folder}/db --pidfile {folder}/pid --log-file stdout --simple-log"
    ))])
}

fn discover(_: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let once = Program::new(format!("turnutils_stunclient -p 3478 {}", peer.address));
    if round.is_multiple_of(2) { vec![once] } else { vec![once.clone(), once] }
}
