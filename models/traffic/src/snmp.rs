//! SNMP: an agent whose messages rasn-snmp encodes and decodes; snmp2 as its manager.

use std::{
    collections::BTreeMap,
    net::UdpSocket,
    ops::Bound::{Excluded, Unbounded},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use rasn::{
    ber,
    types::{Integer, ObjectIdentifier},
};
use rasn_smi::{
    v1::{Counter, Gauge, TimeTicks},
    v2::{ApplicationSyntax, Counter64, ObjectSyntax, SimpleSyntax},
};
use rasn_snmp::{
    v2::{BulkPdu, Pdu, Pdus, Response, VarBind, VarBindValue},
    v2c::Message,
};
use snmp2::{Oid, SyncSession, Value};

use crate::work::Work;

const COMMUNITIES: [&str; 5] = ["public", "private", "noc", "monitoring", "read-only-9f3a"];
const SYSTEM: [u32; 7] = [1, 3, 6, 1, 2, 1, 1];
const INTERFACES: [u32; 7] = [1, 3, 6, 1, 2, 1, 2];
const IP: [u32; 7] = [1, 3, 6, 1, 2, 1, 4];
const SNMP: [u32; 7] = [1, 3, 6, 1, 2, 1, 11];
const HOST: [u32; 7] = [1, 3, 6, 1, 2, 1, 25];
/// Of RFC 2863: interfaces with counters of 64 bits.
const MORE_OF_INTERFACES: [u32; 10] = [1, 3, 6, 1, 2, 1, 31, 1, 1, 1];
/// A manager asks again so often.
const TRIES: usize = 4;

/// A value of a device, which may go up with time.
#[derive(Clone)]
enum Told {
    Same(ObjectSyntax),
    /// So many hundredths of a second at the start.
    Ticks(u32),
    /// So much at the start, so much more each second.
    Counter(u32, f64),
    BigCounter(u64, f64),
}

impl Told {
    fn number(number: u32) -> Self {
        Self::Same(ObjectSyntax::Simple(SimpleSyntax::Integer(Integer::from(number))))
    }

    fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Same(ObjectSyntax::Simple(SimpleSyntax::String(text.as_ref().to_vec().into())))
    }

    fn gauge(number: u32) -> Self {
        Self::Same(ObjectSyntax::ApplicationWide(ApplicationSyntax::Unsigned(Gauge(number))))
    }

    fn counter(work: &mut Work) -> Self {
        Self::Counter(
            work.size(1, 1 << 31) as u32,
            if work.happens(0.3) { 0.0 } else { work.size(1, 1_000_000) as f64 },
        )
    }

    /// What it is after so many seconds.
    fn now(&self, seconds: f64) -> ObjectSyntax {
        let value = match self {
            Self::Same(value) => return value.clone(),
            Self::Ticks(base) => {
                ApplicationSyntax::Ticks(TimeTicks(base.wrapping_add((seconds * 100.0) as u32)))
            }
            Self::Counter(base, rate) => {
                ApplicationSyntax::Counter(Counter(base.wrapping_add((seconds * rate) as u32)))
            }
            Self::BigCounter(base, rate) => {
                ApplicationSyntax::BigCounter(Counter64(base.wrapping_add((seconds * rate) as u64)))
            }
        };
        ObjectSyntax::ApplicationWide(value)
    }
}

/// What a device tells of itself, by identifier.
type Objects = BTreeMap<Vec<u32>, Told>;

fn identifier(parts: &[u32]) -> ObjectIdentifier {
    ObjectIdentifier::new_unchecked(parts.to_vec().into())
}

fn below(group: &[u32], rest: &[u32]) -> Vec<u32> {
    [group, rest].concat()
}

/// A device of some size (RFC 1213, RFC 2790, RFC 2863).
fn objects(work: &mut Work) -> Objects {
    let mut objects = Objects::new();
    for place in [1, 4, 5, 6] {
        objects.insert(below(&SYSTEM, &[place, 0]), Told::text(work.text(3, 200)));
    }
    let maker = identifier(&[1, 3, 6, 1, 4, 1, work.size(1, 50_000) as u32, work.int(1, 300)]);
    objects.insert(below(&SYSTEM, &[2, 0]), Told::Same(ObjectSyntax::Simple(SimpleSyntax::ObjectId(maker))));
    objects.insert(below(&SYSTEM, &[3, 0]), Told::Ticks(work.size(100, 1_000_000_000) as u32));
    objects.insert(below(&SYSTEM, &[7, 0]), Told::number(work.int(1, 127)));
    interfaces(work, &mut objects);
    for (group, last) in [(IP, 19), (SNMP, 29)] {
        for place in 1..=last {
            objects.insert(below(&group, &[place, 0]), Told::counter(work));
        }
    }
    for index in 1..work.count(5, 80) as u32 {
        objects.insert(below(&HOST, &[4, 2, 1, 2, index]), Told::text(work.text(3, 60)));
    }
    objects
}

/// Few of a host, many of a switch; numbered from one or as it pleases.
fn interfaces(work: &mut Work, objects: &mut Objects) {
    let count = work.count(3, 52) as u32;
    let name = work.pick(["eth", "ge-0/0/", "GigabitEthernet1/0/", "Vlan", "X", "Slot: 0 Port: "]);
    let high_capacity = work.happens(0.6);
    objects.insert(below(&INTERFACES, &[1, 0]), Told::number(count));
    for index in 1..=count {
        let mut cell = |column: u32, told: Told| {
            objects.insert(below(&INTERFACES, &[2, 1, column, index]), told);
        };
        cell(1, Told::number(index));
        cell(2, Told::text(format!("{name}{index}")));
        cell(3, Told::number(work.pick([6, 6, 24, 53, 131])));
        cell(4, Told::number(work.pick([1500, 1500, 9000, 65_536])));
        cell(5, Told::gauge(work.pick([100_000_000, 1_000_000_000, u32::MAX])));
        cell(6, Told::text(work.bytes(6, 7)));
        cell(7, Told::number(1));
        cell(8, Told::number(work.int(1, 2)));
        cell(9, Told::Same(Told::Ticks(work.size(1, 1 << 24) as u32).now(0.0)));
        for column in 10..=21 {
            cell(column, Told::counter(work));
        }
        for column in (6..=13).filter(|_| high_capacity) {
            let base = u64::from(work.int(0, u32::MAX)) << work.int(0, 16);
            let told = Told::BigCounter(base, work.size(1, 100_000_000) as f64);
            objects.insert(below(&MORE_OF_INTERFACES, &[column, index]), told);
        }
        if high_capacity {
            objects.insert(below(&MORE_OF_INTERFACES, &[1, index]), Told::text(format!("{name}{index}")));
            objects.insert(below(&MORE_OF_INTERFACES, &[18, index]), Told::text(work.word()));
        }
    }
}

/// An agent, with how long an answer of many values gets and how long a value takes it.
struct Agent {
    objects: Objects,
    longest: usize,
    each: Option<Duration>,
    begin: Instant,
}

/// Answers of versions 1 and 2c, whose messages differ in the version and in what an error looks like.
pub fn snmp_agent(mut work: Work) -> Result<()> {
    let socket = UdpSocket::bind(work.at)?;
    let mut agent = Agent {
        objects: objects(&mut work),
        longest: work.pick([484, 1400, 1472, 4096, 8000, 60_000]),
        each: work.happens(0.3).then(|| work.pause(0.000_02, 0.001)),
        begin: Instant::now(),
    };
    let mut buffer = [0; 65_536];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        // What it does not understand it leaves unanswered, as agents do.
        if let Ok(message) = ber::decode::<Message<Pdus>>(&buffer[..length])
            && let Some(response) = agent.answer(message)
        {
            let bytes = ber::encode(&response).map_err(|error| anyhow!("{error}"))?;
            socket.send_to(&bytes, from)?;
        }
    }
}

impl Agent {
    fn answer(&mut self, message: Message<Pdus>) -> Option<Message<Pdus>> {
        if !COMMUNITIES.iter().any(|community| community.as_bytes() == &message.community[..]) {
            return None;
        }
        let first_version = message.version == Integer::from(0);
        let pdu = match message.data {
            Pdus::GetRequest(request) => self.each_of(request.0, first_version, Self::get),
            Pdus::GetNextRequest(request) => self.each_of(request.0, first_version, Self::next),
            Pdus::GetBulkRequest(request) => self.bulk(&request.0),
            Pdus::SetRequest(request) => self.set(request.0, first_version),
            _ => return None,
        };
        if let Some(each) = self.each {
            thread::sleep(each * u32::try_from(pdu.variable_bindings.len()).unwrap_or(1));
        }
        Some(Message { data: Pdus::Response(Response(pdu)), ..message })
    }

    fn get(&self, name: &[u32]) -> VarBind {
        let value = self.objects.get(name).map(|told| VarBindValue::Value(told.now(self.seconds())));
        VarBind { name: identifier(name), value: value.unwrap_or(VarBindValue::NoSuchInstance) }
    }

    fn next(&self, name: &[u32]) -> VarBind {
        match self.objects.range::<[u32], _>((Excluded(name), Unbounded)).next() {
            Some((name, told)) => {
                VarBind { name: identifier(name), value: VarBindValue::Value(told.now(self.seconds())) }
            }
            None => VarBind { name: identifier(name), value: VarBindValue::EndOfMibView },
        }
    }

    fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    fn each_of(&self, mut pdu: Pdu, first_version: bool, find: impl Fn(&Self, &[u32]) -> VarBind) -> Pdu {
        let found: Vec<_> = pdu.variable_bindings.iter().map(|asked| find(self, &asked.name)).collect();
        let missing = found.iter().position(|found| !matches!(found.value, VarBindValue::Value(_)));
        match missing {
            // Version 1 has no values that say so, and returns the question.
            Some(place) if first_version => fail(&mut pdu, Pdu::ERROR_STATUS_NO_SUCH_NAME, place),
            _ => pdu.variable_bindings = found,
        }
        pdu
    }

    /// As many rows as are asked for and as there is room for (RFC 3416 section 4.2.3).
    fn bulk(&self, request: &BulkPdu) -> Pdu {
        let asked = &request.variable_bindings;
        let once = (request.non_repeaters as usize).min(asked.len());
        let mut found: Vec<_> = asked[..once].iter().map(|asked| self.next(&asked.name)).collect();
        let mut row: Vec<Vec<u32>> = asked[once..].iter().map(|asked| asked.name.to_vec()).collect();
        let mut room = self.longest.saturating_sub(60);
        'rows: for _ in 0..request.max_repetitions {
            let mut ended = true;
            for name in &mut row {
                let next = self.next(name);
                let length = ber::encode(&next).map_or(0, |bytes| bytes.len());
                if length > room {
                    break 'rows;
                }
                room -= length;
                ended &= matches!(next.value, VarBindValue::EndOfMibView);
                *name = next.name.to_vec();
                found.push(next);
            }
            if ended {
                break;
            }
        }
        Pdu { request_id: request.request_id, error_status: 0, error_index: 0, variable_bindings: found }
    }

    /// Texts of the system group can be changed.
    fn set(&mut self, mut pdu: Pdu, first_version: bool) -> Pdu {
        let changeable = |asked: &VarBind| {
            let name = &asked.name;
            name.starts_with(&SYSTEM)
                && [4, 5, 6].contains(&name[SYSTEM.len()])
                && self.objects.contains_key(&name[..])
        };
        if let Some(place) = pdu.variable_bindings.iter().position(|asked| !changeable(asked)) {
            let status =
                if first_version { Pdu::ERROR_STATUS_NO_SUCH_NAME } else { Pdu::ERROR_STATUS_NOT_WRITABLE };
            fail(&mut pdu, status, place);
            return pdu;
        }
        for asked in &pdu.variable_bindings {
            if let VarBindValue::Value(value) = &asked.value {
                self.objects.insert(asked.name.to_vec(), Told::Same(value.clone()));
            }
        }
        pdu
    }
}

fn fail(pdu: &mut Pdu, status: u32, place: usize) {
    pdu.error_status = status;
    pdu.error_index = place as u32 + 1;
}

fn name(parts: &[u32]) -> Result<Oid<'static>> {
    let parts: Vec<u64> = parts.iter().map(|&part| u64::from(part)).collect();
    Oid::from(&parts).map_err(|error| anyhow!("{error:?}"))
}

/// An identifier that a manager asks for.
fn asked(work: &mut Work) -> Result<Oid<'static>> {
    let (column, row) = (work.pick([2, 5, 8, 10, 16]), work.int(1, 3));
    let (system, snmp) = (work.int(1, 7), work.int(1, 29));
    let cell = below(&INTERFACES, &[2, 1, column, row]);
    name(&work.pick([below(&SYSTEM, &[system, 0]), below(&SNMP, &[snmp, 0]), cell]))
}

/// A manager's session, which is opened anew where an answer came too late: the library would take it for the next one.
struct Manager {
    work: Work,
    community: &'static str,
    second_version: bool,
    timeout: Duration,
    session: SyncSession,
}

impl Manager {
    fn new(mut work: Work) -> Result<Self> {
        let community = work.pick(COMMUNITIES);
        let second_version = work.happens(0.7);
        let timeout = work.pause(1.0, 4.0);
        let session = open(&mut work, community, second_version, timeout)?;
        Ok(Self { work, community, second_version, timeout, session })
    }

    /// A question that is asked again when nothing comes: with the names of the answer.
    fn ask(
        &mut self,
        question: impl Fn(&mut SyncSession) -> Result<Vec<Oid<'static>>, snmp2::Error>,
    ) -> Result<Vec<Oid<'static>>> {
        for _ in 0..TRIES {
            match question(&mut self.session) {
                Ok(names) => return Ok(names),
                Err(snmp2::Error::Receive) => {}
                Err(snmp2::Error::RequestIdMismatch) => {
                    self.session = open(&mut self.work, self.community, self.second_version, self.timeout)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(anyhow!("no answer"))
    }
}

fn open(work: &mut Work, community: &str, second_version: bool, timeout: Duration) -> Result<SyncSession> {
    let first_id = work.int(1, 1 << 30) as i32;
    let open = if second_version { SyncSession::new_v2c } else { SyncSession::new_v1 };
    Ok(open(work.at, community.as_bytes(), Some(timeout), first_id)?)
}

/// Names before the end of what the agent has.
fn names(pdu: snmp2::Pdu) -> Vec<Oid<'static>> {
    let there = pdu.varbinds.take_while(|(_, value)| !matches!(value, Value::EndOfMibView));
    there.map(|(name, _)| name.to_owned()).collect()
}

/// A socket a session: questions, walks one by one and in bulk, changes.
pub fn snmp_manager(work: Work) -> Result<()> {
    let mut manager = Manager::new(work)?;
    for _ in 0..manager.work.few(10) {
        let work = &mut manager.work;
        match work.draw() {
            kind if kind < 0.45 => {
                let wanted: Vec<_> = (0..work.few(14)).map(|_| asked(work)).collect::<Result<_>>()?;
                let wanted: Vec<_> = wanted.iter().collect();
                manager.ask(|session| session.get_many(&wanted).map(names))?;
            }
            kind if kind < 0.6 => {
                let (place, text) = (name(&below(&SYSTEM, &[work.int(4, 6), 0]))?, work.text(1, 120));
                let value = || Value::OctetString(text.as_bytes());
                manager.ask(|session| session.set(&[(&place, value())]).map(names))?;
            }
            kind if kind < 0.8 || !manager.second_version => walk(&mut manager, 1)?,
            _ => {
                let rows = work.count(2, 40) as u32;
                walk(&mut manager, rows)?;
            }
        }
        manager.work.think(0.002, 0.6);
    }
    Ok(())
}

/// Through a group or a column, so many rows at a time; now and then not to its end.
fn walk(manager: &mut Manager, rows: u32) -> Result<()> {
    let column = below(&INTERFACES, &[2, 1, manager.work.pick([2, 5, 8, 10, 16])]);
    let top = name(&manager.work.pick([SYSTEM.to_vec(), SNMP.to_vec(), IP.to_vec(), column]))?;
    let mut place = top.clone();
    while place.starts_with(&top) {
        let found = match rows {
            1 => manager.ask(|session| session.getnext(&place).map(names))?,
            _ => manager.ask(|session| session.getbulk(&[&place], 0, rows).map(names))?,
        };
        // An agent of version 1 returns the question at the end.
        match found.last() {
            Some(last) if *last != place && !manager.work.happens(0.02) => place = last.clone(),
            _ => break,
        }
    }
    Ok(())
}
