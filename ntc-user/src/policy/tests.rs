use ntc_common::{
    label::{Label, Stage},
    policy::{CLASS_NAMES, MARK_MASK_DEFAULT},
};

use super::*;
use crate::catalogue::Catalogue;

fn policy(text: &str) -> Policy {
    Policy::parse("p.toml", text, MARK_MASK_DEFAULT).unwrap_or_else(|error| panic!("{error}"))
}

fn mistakes(text: &str) -> Vec<Mistake> {
    match Policy::parse("p.toml", text, MARK_MASK_DEFAULT) {
        Err(PolicyError::Mistakes { mistakes, .. }) => mistakes,
        other => panic!("no mistakes: {other:?}"),
    }
}

fn id(service: &str) -> u16 {
    Catalogue::shipped().by_name(service).map(|service| service.id).expect("a service")
}

fn class_of(policy: &Policy, service: &str) -> Option<String> {
    class_name(&policy.table, policy.table.services[usize::from(id(service))].class)
}

#[test]
fn the_built_in_policy_has_an_action_for_every_class() {
    let policy = Policy::load(None, MARK_MASK_DEFAULT).expect("the built-in policy reads");
    assert_eq!(policy.warnings, []);
    for (class, action) in (0u32..).zip(&policy.table.classes).take(CLASS_NAMES.len()).skip(1) {
        assert_eq!(action.priority, 0x0001_0010 + class, "class {class}");
        assert_eq!(action.mark, class << 16);
    }
    let dns = policy.table.services[usize::from(id("DNS"))];
    assert_eq!((dns.class, dns.min_confidence), (1, 32768));
    assert_eq!(class_of(&policy, "RTP").as_deref(), Some("realtime"));
    assert_eq!((policy.table.unlabelled, policy.table.unknown, policy.table.rule_count), (0, 0, 0));
}

#[test]
fn the_closest_selector_counts() {
    let policy = policy(
        "[class.web]\n[class.a]\nservices = [\"TLS.Google\"]\n[class.b]\nservices = [\"TLS.G*\"]\n\
         [class.c]\nprotocols = [\"TLS\"]\n",
    );
    assert_eq!(class_of(&policy, "TLS.Google").as_deref(), Some("a"), "its name");
    assert_eq!(class_of(&policy, "TLS.GMail").as_deref(), Some("b"), "a pattern");
    assert_eq!(class_of(&policy, "TLS.Facebook").as_deref(), Some("c"), "its protocol");
    assert_eq!(class_of(&policy, "HTTP").as_deref(), Some("web"), "its category");
    assert_eq!(class_of(&policy, "DNS"), None);
    assert_eq!(policy.table.classes[11].mark, 11 << 16, "own classes follow the catalogue's");
}

#[test]
fn every_mistake_is_told_with_its_line_and_field() {
    let text = "\
[default]
unknown = \"webb\"

[class.web]
priority = \"7\"
dscp = \"AF14\"
existing_dscp = \"always\"
min_confidence = 2
colour = \"red\"

[class.Fast]
[class.fast]
services = [\"RTPP\", \"QQ*\"]
mark = \"0x1\"

[[rule]]
class = \"fast\"
prot = \"udp\"
port = \"20-10\"
[[rule]]
address = \"10.0.0.1/8\"
[[rule]]
class = \"bulk\"
";
    let found = mistakes(text);
    let told: Vec<_> = found.iter().map(|m| (m.line, m.field.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "default.unknown"),
            (5, "class.web.priority"),
            (6, "class.web.dscp"),
            (7, "class.web.existing_dscp"),
            (8, "class.web.min_confidence"),
            (9, "class.web.colour"),
            (11, "class.Fast"),
            (13, "class.fast.services"),
            (13, "class.fast.services"),
            (14, "class.fast.mark"),
            (18, "rule[0].prot"),
            (19, "rule[0].port"),
            (20, "rule[1]"),
            (21, "rule[1].address"),
            (22, "rule[2]"),
            (23, "rule[2].class"),
        ],
        "{found:#?}"
    );
    for (line, hint) in [(2, "\"web\""), (6, "\"AF"), (13, "\"RTP\""), (18, "\"protocol\"")] {
        assert!(
            found.iter().any(|m| m.line == line && m.what.contains(&format!("did you mean {hint}"))),
            "{found:#?}"
        );
    }
    let syntax = mistakes("[class.web]\ndscp = \n[class.bulk\n");
    assert_eq!(syntax.iter().map(|m| m.line).collect::<Vec<_>>(), [2, 3], "{syntax:#?}");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let one = |text: &str, wanted: &str| {
        let found = mistakes(text);
        assert!(found.len() == 1 && found[0].what.contains(wanted), "{found:#?}");
    };
    one(
        "[class.a]\nservices = [\"RTP\"]\n[class.b]\nservices = [\"RTP\"]",
        "RTP is in another class already",
    );
    one(
        "[class.a]\nservices = [\"TLS.G*\"]\n[class.b]\nservices = [\"TLS.Go*\"]",
        "name it in one of the two",
    );
    one("[class.web]\nmark = \"0x30000\"\n[class.realtime]", "has the same mark");
    one("default.unknown = \"x\"\n[class.x]\ndrop = true", "is not dropped");
    one("[class.web]\nmin_confidence = 0.9\nhysteresis = 0.2", "no flow would ever change");
    let six: String = (0..6).map(|n| format!("[class.own{n}]\nservices = [\"RTP\"]\n")).collect();
    assert!(mistakes(&six).iter().any(|m| m.what.contains("more than 5 classes")));
}

#[test]
fn what_is_strange_is_told() {
    let warned = |text: &str| policy(text).warnings;
    assert!(warned("[class.spare]\n")[0].what.contains("nothing chooses this class"));
    let twins =
        warned("[class.web]\n[[rule]]\nclass = \"web\"\nport = 80\n[[rule]]\nclass = \"none\"\nport = 80\n");
    assert_eq!((twins[0].line, twins.len()), (5, 1));
    assert!(twins[0].what.contains("line 2"));
    assert!(
        warned("default.unknown = \"bulk\"\n[class.bulk]\ndscp = \"LE\"\n")[0]
            .what
            .contains("below best effort")
    );
}

fn label(acts_as: u16, confidence: f32, changes: u8) -> Label {
    Label {
        start_ns: 1,
        set_at_ns: 1,
        model_epoch: 1,
        service: acts_as,
        confidence: (confidence * 65535.0) as u16,
        acts_as,
        acts_confidence: (confidence * 65535.0) as u16,
        stage: Stage::Provisional as u8,
        class: 0,
        packets: 5,
        changes,
    }
}

#[test]
fn a_flow_keeps_its_class_until_another_answer_is_surer_by_the_margin() {
    // 0.5 to act, 0.1 more to change.
    let policy = policy("[class.web]\n[class.realtime]\n");
    let (rtp, stun, http, dns) = (id("RTP"), id("STUN"), id("HTTP"), id("DNS"));
    let after = |label: Option<&Label>, service, confidence: f32| {
        Standing::after(&policy.table, label, service, (confidence * 65535.0).round() as u16)
    };
    let first = after(None, rtp, 0.7);
    assert_eq!((first.service, first.changes), (rtp, 1));
    assert_eq!(after(None, rtp, 0.4).changes, 0, "unsure: in no class");

    let call = label(rtp, 0.7, 1);
    for (service, confidence, stands, changes, why) in [
        (rtp, 0.9, rtp, 1, "surer of the same"),
        (stun, 0.6, stun, 1, "another service of the same class"),
        (rtp, 0.3, rtp, 1, "doubt changes nothing"),
        (0, 0.9, rtp, 1, "unknown changes nothing"),
        (http, 0.4, rtp, 1, "doubt of another class neither"),
        (http, 0.55, rtp, 1, "sure, but not by the margin"),
        (http, 0.65, http, 2, "sure by the margin"),
        (dns, 0.55, rtp, 1, "of no class: the class left asks for its margin"),
        (dns, 0.65, dns, 2, "of no class, sure by the margin"),
    ] {
        let standing = after(Some(&call), service, confidence);
        assert_eq!((standing.service, standing.changes), (stands, changes), "{why}");
    }
    let settled = label(rtp, 0.7, 2);
    assert_eq!(after(Some(&settled), http, 1.0).service, rtp, "the class has changed twice");
    assert_eq!(after(Some(&label(rtp, 0.4, 0)), http, 0.55).service, http, "there was no class to keep");
}

#[test]
fn show_tells_what_and_why() {
    let policy = policy(
        "default.unlabelled = \"web\"\n[class.web]\npriority = \"1:12\"\n[class.realtime]\ndscp = \"EF\"\n\
         [[rule]]\nclass = \"realtime\"\nprotocol = \"udp\"\nport = 5060\n",
    );
    let rtp = policy.explain(Question::Service { id: id("RTP"), confidence: 0.9 });
    assert_eq!((rtp.class.as_deref(), rtp.dscp.as_deref()), (Some("realtime"), Some("EF")));
    assert!(rtp.because.iter().any(|why| why.contains("category realtime")), "{rtp:?}");
    let doubt = policy.explain(Question::Service { id: id("RTP"), confidence: 0.3 });
    assert!(doubt.class.is_none() && doubt.because.iter().any(|why| why.contains("unsure")), "{doubt:?}");

    let end = |port: u16| (ntc_common::key::Address::mapped([192, 0, 2, 1]), port.to_be_bytes());
    let mut key = ntc_common::key::FlowKey::ZERO;
    key.set(end(40_000), end(5060), ntc_common::key::IPPROTO_UDP, 4);
    let sip = policy.explain(Question::Flow { key: &key, label: None });
    assert_eq!(sip.class.as_deref(), Some("realtime"));
    assert!(sip.because[0].contains("rule 1 (line 6)"), "{sip:?}");
    key.set(end(40_000), end(5061), ntc_common::key::IPPROTO_UDP, 4);
    let other = policy.explain(Question::Flow { key: &key, label: None });
    assert_eq!((other.class.as_deref(), other.priority.as_deref()), (Some("web"), Some("1:12")));
}

#[test]
fn the_schema_is_the_golden_one() {
    let made = serde_json::to_string_pretty(&schema()).expect("the schema") + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/policy/schema.json");
    if std::env::var_os("NTC_BLESS").is_some() {
        fs::write(path, &made).expect("the golden file can be written");
    }
    let golden = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(made, golden, "the policy file changed: NTC_BLESS=1 cargo test, and tell in docs/policy.md");
}

#[test]
fn the_examples_are_right_and_do_what_they_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policy/examples");
    let example = |name: &str| {
        let policy = Policy::load(Some(&Path::new(folder).join(name)), MARK_MASK_DEFAULT)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(policy.warnings, [], "{name}");
        policy
    };
    assert_eq!(fs::read_dir(folder).expect("examples").count(), 3);
    let home = example("home.toml");
    assert_eq!(class_of(&home, "RTP").as_deref(), Some("voice"));
    assert_eq!(class_of(&home, "BitTorrent").as_deref(), Some("bulk"));
    let iot = example("iot-gateway.toml");
    assert_eq!(class_of(&iot, "MQTT").as_deref(), Some("industrial"));
    assert!(iot.table.rule_count > 0);
    let office = example("office.toml");
    assert_eq!(class_of(&office, "SIP").as_deref(), Some("signalling"));
}
