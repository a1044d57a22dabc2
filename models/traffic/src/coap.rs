//! CoAP: server and client of coap.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use coap::{
    Server, UdpCoAPClient,
    client::ObserveMessage,
    request::{Method, RequestBuilder, Status},
    server::{Listener, Responder, TransportRequestSender, UdpCoapListener},
};
use coap_lite::{CoapOption, CoapRequest, MessageType, block_handler::BlockValue};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use crate::work::Work;

/// What CoAP servers have to tell, of names of many lengths, and between which sizes.
const RESOURCES: [(&str, u32, u32); 12] = [
    ("t", 1, 6),
    ("temperature", 2, 12),
    ("state", 1, 60),
    ("light/1", 1, 30),
    ("sensors/humidity/living-room", 2, 30),
    ("config", 100, 900),
    ("dev/model", 5, 40),
    ("log/latest", 2_000, 20_000),
    ("a/b/c/d", 10, 300),
    ("3/0/9", 1, 4),
    ("rd", 10, 1_200),
    ("fw", 1_000, 20_000),
];
/// What changes by itself, so that it can be watched.
const CHANGING: [&str; 2] = ["temperature", "t"];
/// Bits of the first byte (RFC 7252 section 3).
const TYPE: u8 = 0x30;
const CONFIRMABLE: u8 = 0x00;
const NOT_CONFIRMABLE: u8 = 0x10;
const ACKNOWLEDGEMENT: u8 = 0x20;
const CORE: &str = ".well-known/core";

type Values = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

fn locked(values: &Values) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
    values.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is measured: the library's server tells those who watch of a value when a request changes it.
struct Sensor {
    work: Work,
    period: Duration,
}

/// Where answers to the sensor go.
struct Nobody(SocketAddr);

#[async_trait]
impl Responder for Nobody {
    async fn respond(&self, _: Vec<u8>) {}

    fn address(&self) -> SocketAddr {
        self.0
    }
}

#[async_trait]
impl Listener for Sensor {
    async fn listen(
        self: Box<Self>,
        sender: TransportRequestSender,
    ) -> io::Result<JoinHandle<io::Result<()>>> {
        Ok(tokio::spawn(self.measure(sender)))
    }
}

impl Sensor {
    async fn measure(mut self: Box<Self>, sender: TransportRequestSender) -> io::Result<()> {
        let nobody: Arc<dyn Responder> = Arc::new(Nobody(self.work.at));
        loop {
            for path in CHANGING {
                let value = format!("{:.*}", self.work.pick([0, 1, 2]), 60.0 * self.work.draw() - 20.0);
                let request = RequestBuilder::new(path, Method::Put).data(Some(value.into_bytes())).build();
                let bytes = request.message.to_bytes().map_err(io::Error::other)?;
                sender.send((bytes, Arc::clone(&nobody))).map_err(io::Error::other)?;
            }
            sleep(self.period).await;
        }
    }
}

/// The library's listener, whose answers to what asks for confirmation confirm: the library answers the start of a watch with
/// a message that does not, and clients would ask again and again.
struct Confirming(UdpCoapListener);

struct Confirmation {
    of: [u8; 2],
    to: Arc<dyn Responder>,
}

#[async_trait]
impl Responder for Confirmation {
    async fn respond(&self, mut response: Vec<u8>) {
        if response.get(2..4) == Some(&self.of) && response[0] & TYPE == NOT_CONFIRMABLE {
            response[0] ^= NOT_CONFIRMABLE ^ ACKNOWLEDGEMENT;
        }
        self.to.respond(response).await;
    }

    fn address(&self) -> SocketAddr {
        self.to.address()
    }
}

#[async_trait]
impl Listener for Confirming {
    async fn listen(
        self: Box<Self>,
        sender: TransportRequestSender,
    ) -> io::Result<JoinHandle<io::Result<()>>> {
        let (inner, mut requests) = mpsc::unbounded_channel::<(Vec<u8>, Arc<dyn Responder>)>();
        let listening = Box::new(self.0).listen(inner).await?;
        tokio::spawn(async move {
            while let Some((bytes, responder)) = requests.recv().await {
                let responder = match bytes[..] {
                    [first, _, high, low, ..] if first & TYPE == CONFIRMABLE => {
                        Arc::new(Confirmation { of: [high, low], to: responder })
                    }
                    _ => responder,
                };
                sender.send((bytes, responder)).map_err(io::Error::other)?;
            }
            Ok::<_, io::Error>(())
        });
        Ok(listening)
    }
}

/// Resources of this seed's sizes, some with a delay that it draws.
pub async fn coap_server(mut work: Work) -> Result<()> {
    let texts = RESOURCES.map(|(path, low, high)| (path.to_owned(), work.text(low, high).into_bytes()));
    let values: Values = Arc::new(Mutex::new(texts.into()));
    let period = work.pause(0.2, 2.0);
    let delay = work.happens(0.3).then(|| work.pause(0.001, 0.02));
    let max_age = work.happens(0.5).then(|| work.int(1, 60));
    let sensor = Sensor { work: work.clone(), period };
    let listeners: Vec<Box<dyn Listener>> =
        vec![Box::new(Confirming(UdpCoapListener::new(work.at)?)), Box::new(sensor)];
    let handler = move |mut request: Box<CoapRequest<SocketAddr>>| {
        let values = Arc::clone(&values);
        async move {
            if let Some(delay) = delay {
                sleep(delay).await;
            }
            answer(&mut request, &values, max_age);
            request
        }
    };
    Server::from_listeners(listeners).run(handler).await.context("serving")
}

/// Some servers name the format of what they send, and how long it stays good.
fn answer(request: &mut CoapRequest<SocketAddr>, values: &Values, max_age: Option<u32>) {
    let (path, method) = (request.get_path(), *request.get_method());
    let sent = request.message.payload.clone();
    let Some(response) = request.response.as_mut() else { return };
    let mut values = locked(values);
    let status = match method {
        Method::Get => {
            let links = (path == CORE).then(|| links(&values).into_bytes());
            match links.as_ref().or_else(|| values.get(&path)) {
                Some(found) => {
                    response.message.payload = found.clone();
                    if let Some(max_age) = max_age {
                        let format = if path == CORE { vec![40] } else { vec![] };
                        response.message.add_option(CoapOption::ContentFormat, format);
                        response.message.add_option(CoapOption::MaxAge, vec![max_age as u8]);
                    }
                    Status::Content
                }
                None => Status::NotFound,
            }
        }
        Method::Put | Method::Post if path == CORE => Status::MethodNotAllowed,
        Method::Put => match values.insert(path, sent) {
            Some(_) => Status::Changed,
            None => Status::Created,
        },
        Method::Post => {
            response.message.payload = sent.into_iter().take(40).collect();
            Status::Changed
        }
        Method::Delete => {
            if !RESOURCES.iter().any(|(known, ..)| *known == path) {
                values.remove(&path);
            }
            Status::Deleted
        }
        _ => Status::MethodNotAllowed,
    };
    response.set_status(status);
}

fn links(values: &BTreeMap<String, Vec<u8>>) -> String {
    let link = |path: &String| match CHANGING.contains(&path.as_str()) {
        true => format!("</{path}>;obs;rt=\"{}\"", path.replace('/', ".")),
        false => format!("</{path}>;ct=0"),
    };
    values.keys().map(link).collect::<Vec<_>>().join(",")
}

/// One question, or some, or a watch over a value.
pub async fn coap_client(mut work: Work) -> Result<()> {
    let mut client = UdpCoAPClient::new(work.at).await?;
    client.set_receive_timeout(Duration::from_secs(2));
    client.set_block1_size(work.pick([64, 256, 512, 1024]));
    let token_length = work.pick([1, 2, 4, 8]);
    for _ in 0..work.few(14) {
        if work.happens(0.15) {
            watch(&mut work, &client).await?;
        } else {
            // What is not confirmed may get lost, as it may in the field.
            let request = request(&mut work, token_length);
            let confirmed = request.message.header.get_type() == MessageType::Confirmable;
            match client.send(request).await {
                Err(error) if confirmed => return Err(error.into()),
                _ => {}
            }
        }
        sleep(work.pause(0.005, 1.0)).await;
    }
    Ok(())
}

fn request(work: &mut Work, token_length: u32) -> CoapRequest<SocketAddr> {
    let (own, other) = (format!("own/{}", work.word()), work.word());
    let any = work.pick(RESOURCES).0;
    let (method, path) = match work.draw() {
        kind if kind < 0.6 => (Method::Get, work.pick([any, any, any, any, CORE, other.as_str()])),
        kind if kind < 0.8 => (Method::Put, work.pick(["state", "light/1", own.as_str()])),
        kind if kind < 0.93 => (Method::Post, work.pick(["rd", "light/1", other.as_str()])),
        _ => (Method::Delete, work.pick([own.as_str(), "state"])),
    };
    let payload = matches!(method, Method::Put | Method::Post).then(|| match work.happens(0.1) {
        true => work.bytes(900, 5_000),
        false => work.bytes(1, 900),
    });
    let query = if work.happens(0.15) { vec![format!("ep={}", work.word()).into_bytes()] } else { vec![] };
    let token = (0..token_length).map(|_| work.int(0, 255) as u8).collect();
    let mut built = RequestBuilder::new(path, method)
        .data(payload)
        .queries(query)
        .confirmable(work.happens(0.7))
        .token(Some(token))
        .build();
    if method == Method::Get && work.happens(0.3) {
        let size = work.pick([64, 128, 256, 512, 1024]);
        if let Ok(block) = BlockValue::new(0, false, size) {
            built.message.add_option_as(CoapOption::Block2, block);
        }
    }
    built
}

/// For some seconds, and then says that it is over.
async fn watch(work: &mut Work, client: &UdpCoAPClient) -> Result<()> {
    let end = client.observe(work.pick(CHANGING), |_| {}).await?;
    sleep(work.pause(0.5, 4.0)).await;
    // The library ends when it has the answer; without its receiver there is nobody to tell.
    _ = end.send(ObserveMessage::Terminate);
    sleep(Duration::from_millis(300)).await;
    Ok(())
}
