//! MQTT: Mosquitto. CoAP: libcoap.

use anyhow::Result;

use super::{Endpoint, Peer, Program, Service, Site};

/// Publish and subscribe.
pub(super) const MQTT: Service = Service {
    name: "mqtt",
    implementations: &["mosquitto", "mosquitto_pub", "mosquitto_sub"],
    packages: &["mosquitto", "mosquitto-clients"],
    endpoints: &[Endpoint::tcp(1883, "MQTT")],
    servers: serve_mqtt,
    exchange: publish,
    interval: 1.5,
};

/// Constrained devices.
pub(super) const COAP: Service = Service {
    name: "coap",
    implementations: &["coap-server-notls", "coap-client-notls"],
    packages: &["libcoap3-bin"],
    endpoints: &[Endpoint::udp(5683, "COAP")],
    servers: serve_coap,
    exchange: get,
    interval: 2.0,
};

fn serve_mqtt(site: &Site) -> Result<Vec<Program>> {
    let configuration =
        "listener 1883\nallow_anonymous true\npersistence false\nuser root\nlog_dest stdout\n";
    let file = site.write("mqtt", "mosquitto.conf", configuration)?;
    Ok(vec![Program::new(format!("mosquitto -c {file}"))])
}

fn publish(_: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let broker = format!("-h {} -V {}", peer.address, ["mqttv311", "5", "mqttv31"][round % 3]);
    let topic = format!("house/room{}/temperature", round % 7);
    let quality = round % 3;
    // A subscriber gets 6 values while a sensor sends them, then another device reads the retained one.
    let dialogue = format!(
        "mosquitto_sub {broker} -i display{round} -q {quality} -t 'house/#' -C 6 -W 6 & sleep 0.2; \
         for value in 20.1 20.4 20.9 21.3 21.2 21.0; do echo $value; sleep 0.05; done \
         | mosquitto_pub {broker} -i sensor{round} -q {quality} -t {topic} -l; wait $!"
    );
    vec![
        Program::shell(dialogue),
        Program::new(format!("mosquitto_pub {broker} -q {quality} -r -t state/{round} -m on")),
        Program::new(format!("mosquitto_sub {broker} -q {quality} -t state/{round} -C 1 -W 5")),
    ]
}

fn serve_coap(_: &Site) -> Result<Vec<Program>> {
    Ok(vec![
        Program::new("coap-server-notls -p 5683 -A 198.51.100.2"),
        Program::new("coap-server-notls -p 5683 -A 2001:db8:2::2"),
    ])
}

fn get(_: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let ask = |options: &str, path: &str| {
        Program::new(format!("coap-client-notls -B 4 {options} coap://{}/{path}", peer.host))
    };
    match round % 3 {
        0 => vec![ask("-m get", ".well-known/core"), ask("-m get", "time")],
        1 => vec![ask("-m put -e value=21.5", "example_data"), ask("-m get", "example_data")],
        _ => vec![ask("-m get -N", "time"), ask("-m get -s 3", "time")],
    }
}
