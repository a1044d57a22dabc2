//! What the query interface is asked: a query string of `/v1/flows`, a 5-tuple, a policy as JSON. Every reader gets
//! the input.

use ntc_common::policy::MARK_MASK_DEFAULT;
use ntc_user::{
    api::{
        policy::PolicyDocument,
        query::{self, Tuple},
    },
    policy::Policy,
};

/// Reads the input as each of them.
///
/// # Panics
/// Where a page is let through that no table can give, or a key is not the same from both ends.
pub fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        let interfaces = |name: &str| u32::try_from(name.len()).ok();
        match query::parse(text, interfaces) {
            Ok(page) => {
                assert!((1..=1000).contains(&page.limit));
                if let Some(key) = page.after {
                    // A cursor that was let in is the one that is given out for its key.
                    let again = query::parse(&format!("cursor={}", query::cursor(&key)), interfaces)
                        .map(|page| page.after);
                    assert_eq!(again, Ok(Some(key)));
                }
            }
            Err(problem) => assert!(problem.status == 400 && !problem.detail.is_empty()),
        }
    }
    if let Ok(tuple) = serde_json::from_slice::<Tuple>(input) {
        let Tuple { src_ip, dst_ip, src_port, dst_port, proto } = tuple;
        let back = Tuple { src_ip: dst_ip, dst_ip: src_ip, src_port: dst_port, dst_port: src_port, proto };
        assert_eq!(tuple.key(), back.key(), "both directions are one flow");
        assert_eq!(tuple.key().is_ok(), src_ip.is_ipv4() == dst_ip.is_ipv4());
    }
    if let Ok(document) = serde_json::from_slice::<PolicyDocument>(input)
        && let Ok(text) = document.text()
        && let Ok(policy) = Policy::parse("input", &text, MARK_MASK_DEFAULT)
    {
        crate::policy::usable(&policy);
    }
}
