//! MQTT: a broker on the packets of rumqttc; rumqttc as client, of versions 3.1.1 and 5.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use rumqttc::{
    AsyncClient, Codec, ConnAck, Connect, ConnectReturnCode, Event, LastWill, MqttOptions, Outgoing, Packet,
    PubAck, PubComp, PubRec, PubRel, Publish, QoS, SubAck, Subscribe, SubscribeReasonCode, UnsubAck, matches,
    v5,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::sleep,
};
use tokio_util::codec::Framed;

use crate::work::Work;

/// Larger than anything that is sent.
const LARGEST: usize = 1 << 20;

/// Who is there, and what is kept for those who come later.
#[derive(Default)]
struct House {
    connections: BTreeMap<u64, Member>,
    kept: BTreeMap<String, Publish>,
    last: u64,
}

struct Member {
    outgoing: UnboundedSender<Packet>,
    filters: Vec<(String, QoS)>,
    last_id: u16,
}

type Shared = Arc<Mutex<House>>;

fn locked(house: &Shared) -> MutexGuard<'_, House> {
    house.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Member {
    /// Tells it what was published, with no more certainty than it asked for.
    fn tell(&mut self, told: &Publish, wanted: QoS, retain: bool) {
        let qos = if (told.qos as u8) < wanted as u8 { told.qos } else { wanted };
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let pkid = if qos == QoS::AtMostOnce { 0 } else { self.last_id };
        // One that has just gone needs no message.
        _ = self.outgoing.send(Packet::Publish(Publish { dup: false, retain, qos, pkid, ..told.clone() }));
    }
}

impl House {
    fn publish(&mut self, told: Publish) {
        for member in self.connections.values_mut() {
            let best = member.filters.iter().filter(|(filter, _)| matches(&told.topic, filter));
            if let Some(wanted) = best.map(|&(_, qos)| qos).max_by_key(|&qos| qos as u8) {
                member.tell(&told, wanted, false);
            }
        }
        match (told.retain, told.payload.is_empty()) {
            (true, true) => _ = self.kept.remove(&told.topic),
            (true, false) => _ = self.kept.insert(told.topic.clone(), told),
            _ => {}
        }
    }

    fn subscribe(&mut self, who: u64, asked: Subscribe) {
        let Some(member) = self.connections.get_mut(&who) else { return };
        let codes = asked.filters.iter().map(|filter| SubscribeReasonCode::Success(filter.qos)).collect();
        _ = member.outgoing.send(Packet::SubAck(SubAck::new(asked.pkid, codes)));
        for filter in asked.filters {
            for told in self.kept.values().filter(|told| matches(&told.topic, &filter.path)) {
                member.tell(told, filter.qos, true);
            }
            member.filters.retain(|(path, _)| *path != filter.path);
            member.filters.push((filter.path, filter.qos));
        }
    }
}

/// Of version 3.1.1.
pub async fn mqtt_broker(mut work: Work) -> Result<()> {
    let listener = TcpListener::bind(work.at).await?;
    let house = Shared::default();
    let at_once = work.happens(0.7);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(at_once)?;
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            if let Err(error) = connection(stream, &house).await {
                println!("{error:#}");
            }
        });
    }
}

async fn connection(stream: TcpStream, house: &Shared) -> Result<()> {
    let mut stream = Framed::new(stream, Codec { max_incoming_size: LARGEST, max_outgoing_size: LARGEST });
    let Some(Packet::Connect(connect)) = stream.next().await.transpose()? else { bail!("not a connection") };
    stream.send(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))).await?;
    let (sender, outgoing) = unbounded_channel();
    let who = {
        let mut house = locked(house);
        house.last += 1;
        let who = house.last;
        let member = Member { outgoing: sender.clone(), filters: Vec::new(), last_id: 0 };
        house.connections.insert(who, member);
        who
    };
    let done = exchange(&mut stream, house, who, &sender, outgoing).await;
    let mut house = locked(house);
    house.connections.remove(&who);
    if let (Err(_), Connect { last_will: Some(will), .. }) = (&done, connect) {
        let LastWill { topic, message, qos, retain } = will;
        house.publish(Publish { dup: false, qos, retain, topic, pkid: 0, payload: message });
    }
    done
}

/// Until the client leaves: an error where it does so without a word.
async fn exchange(
    stream: &mut Framed<TcpStream, Codec>,
    house: &Shared,
    who: u64,
    sender: &UnboundedSender<Packet>,
    mut outgoing: UnboundedReceiver<Packet>,
) -> Result<()> {
    loop {
        tokio::select! {
            packet = stream.next() => {
                let packet = packet.context("gone")??;
                if packet == Packet::Disconnect {
                    return Ok(());
                }
                if let Some(answer) = answer(packet, house, who) {
                    sender.send(answer)?;
                }
            }
            Some(packet) = outgoing.recv() => {
                stream.feed(packet).await?;
                // What is there already leaves with it.
                while let Ok(packet) = outgoing.try_recv() {
                    stream.feed(packet).await?;
                }
                stream.flush().await?;
            }
        }
    }
}

fn answer(packet: Packet, house: &Shared, who: u64) -> Option<Packet> {
    match packet {
        Packet::Publish(told) => {
            let (qos, id) = (told.qos, told.pkid);
            locked(house).publish(told);
            match qos {
                QoS::AtMostOnce => None,
                QoS::AtLeastOnce => Some(Packet::PubAck(PubAck::new(id))),
                QoS::ExactlyOnce => Some(Packet::PubRec(PubRec::new(id))),
            }
        }
        Packet::PubRel(released) => Some(Packet::PubComp(PubComp::new(released.pkid))),
        Packet::PubRec(received) => Some(Packet::PubRel(PubRel::new(received.pkid))),
        Packet::Subscribe(asked) => {
            locked(house).subscribe(who, asked);
            None
        }
        Packet::Unsubscribe(asked) => {
            if let Some(member) = locked(house).connections.get_mut(&who) {
                member.filters.retain(|(path, _)| !asked.topics.contains(path));
            }
            Some(Packet::UnsubAck(UnsubAck::new(asked.pkid)))
        }
        Packet::PingReq => Some(Packet::PingResp),
        _ => None,
    }
}

fn topic_of(work: &mut Work) -> String {
    let own = work.word();
    let mut parts =
        vec![work.pick(["house", "plant", "car", "v1/devices", "tele", "zigbee2mqtt", &own]).to_owned()];
    parts.extend((0..work.count(1, 3)).map(|_| work.word()));
    parts.join("/")
}

/// What devices tell: numbers, words, small documents, now and then something larger.
fn reading(work: &mut Work) -> Vec<u8> {
    match work.int(0, 5) {
        0 => format!("{:.*}", work.pick([0, 1, 2, 4]), 140.0 * work.draw() - 20.0).into_bytes(),
        1 => work.pick(["on", "off", "OPEN", "CLOSED", "1", "ONLINE"]).into(),
        2 => format!("{{\"t\":{:.3},\"u\":\"C\"}}", work.draw()).into_bytes(),
        3 | 4 => {
            let fields =
                (0..work.count(1, 12)).map(|_| format!("\"{}\":{}", work.word(), work.size(1, 100_000)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(",")).into_bytes()
        }
        _ => work.bytes(5, 4_000),
    }
}

fn quality(work: &mut Work) -> QoS {
    work.pick([QoS::AtMostOnce, QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

/// What one session does, whatever the version.
struct Plan {
    topic: String,
    subscribes: bool,
    /// Each with the pause after it.
    told: Vec<(String, QoS, bool, Vec<u8>, Duration)>,
    /// How long it stays and listens.
    stays: Duration,
}

/// A sensor with a beat or without, a display, or both; a script that tells one thing and leaves.
fn plan(work: &mut Work) -> Plan {
    let topic = topic_of(work);
    let once = work.happens(0.35);
    let beat = work.happens(0.5).then(|| work.pause(0.01, 0.5));
    let same = work.happens(0.4).then(|| reading(work));
    let count = if once { 1 } else { work.count(1, 25) };
    let told = (0..count).map(|_| {
        let place = format!("{topic}/{}", work.pick(["t", "rh", "state"]));
        let what = same.clone().unwrap_or_else(|| reading(work));
        let pause = beat.unwrap_or_else(|| work.pause(0.01, 1.0));
        (place, quality(work), work.happens(0.3), what, pause)
    });
    let told = told.collect();
    let stays = work.pause(0.05, if once { 0.3 } else { 3.0 });
    Plan { topic, subscribes: !once && work.happens(0.5), told, stays }
}

/// `5` after the name for that version, whose brokers here have quality 0 only.
pub async fn mqtt_client(mut work: Work) -> Result<()> {
    let id = format!("{}-{}", work.word(), work.int(0, 999_999));
    let alive = Duration::from_secs(work.size(5, 120) as u64);
    let plan = plan(&mut work);
    if work.more.iter().any(|more| more == "5") {
        return newer(work, &id, alive, plan).await;
    }
    let mut options = MqttOptions::new(id, work.at.ip().to_string(), work.at.port());
    options.set_keep_alive(alive).set_clean_session(true);
    if work.happens(0.2) {
        options.set_last_will(LastWill::new(
            format!("{}/gone", plan.topic),
            "offline",
            QoS::AtLeastOnce,
            false,
        ));
    }
    if work.happens(0.2) {
        options.set_credentials(work.word(), work.word());
    }
    let (client, mut events) = AsyncClient::new(options, 10);
    let filter_quality = quality(&mut work);
    let script = async {
        if plan.subscribes {
            client.subscribe(format!("{}/#", plan.topic), filter_quality).await?;
        }
        for (topic, qos, retain, what, pause) in plan.told {
            client.publish(topic, qos, retain, what).await?;
            sleep(pause).await;
        }
        sleep(plan.stays).await;
        client.disconnect().await?;
        Ok(())
    };
    let listen = async {
        while events.poll().await? != Event::Outgoing(Outgoing::Disconnect) {}
        anyhow::Ok(())
    };
    tokio::try_join!(script, listen).map(|_| ())
}

async fn newer(work: Work, id: &str, alive: Duration, plan: Plan) -> Result<()> {
    let mut options = v5::MqttOptions::new(id, work.at.ip().to_string(), work.at.port());
    options.set_keep_alive(alive).set_clean_start(true);
    let (client, mut events) = v5::AsyncClient::new(options, 10);
    let quality = v5::mqttbytes::QoS::AtMostOnce;
    let script = async {
        if plan.subscribes {
            client.subscribe(format!("{}/#", plan.topic), quality).await?;
        }
        for (topic, _, retain, what, pause) in plan.told {
            client.publish(topic, quality, retain, what).await?;
            sleep(pause).await;
        }
        sleep(plan.stays).await;
        client.disconnect().await?;
        Ok(())
    };
    let listen = async {
        while !matches!(events.poll().await?, v5::Event::Outgoing(Outgoing::Disconnect)) {}
        anyhow::Ok(())
    };
    tokio::try_join!(script, listen).map(|_| ())
}
