//! LDAP: OpenLDAP.

use anyhow::Result;

use super::{Endpoint, Peer, Program, Service, Site};

/// Directory look-ups and changes.
pub(super) const LDAP: Service = Service {
    name: "ldap",
    implementations: &["slapd", "ldapsearch", "ldapwhoami", "ldapmodify"],
    packages: &["slapd", "ldap-utils"],
    endpoints: &[Endpoint::tcp(389, "LDAP")],
    servers: serve,
    exchange: look_up,
    interval: 1.5,
};

fn serve(site: &Site) -> Result<Vec<Program>> {
    let database = site.folder("ldap/database")?;
    let configuration = format!(
        "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile /run/slapd.pid
database mdb
maxsize 16777216
suffix \"dc=example,dc=net\"
rootdn \"cn=admin,dc=example,dc=net\"
rootpw secret
directory {}
",
        database.display()
    );
    let file = site.write("ldap", "slapd.conf", configuration)?;
    let mut entries = String::from(
        "dn: dc=example,dc=net\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
         dn: ou=people,dc=example,dc=net\nobjectClass: organizationalUnit\nou: people\n\n",
    );
    for number in 0..120 {
        entries += &format!(
            "dn: uid=user{number},ou=people,dc=example,dc=net\nobjectClass: inetOrgPerson\nuid: user{number}\n\
             cn: User {number}\nsn: Number{number}\nmail: user{number}@example.net\nuserPassword: secret\n\n"
        );
    }
    let entries = site.write("ldap", "entries.ldif", entries)?;
    site.prepare("ldap", &Program::new(format!("slapadd -q -f {file} -l {entries}")))?;
    Ok(vec![
        Program::new(format!("slapd -d 0 -f {file} -h")).arg("ldap://198.51.100.2 ldap://[2001:db8:2::2]"),
    ])
}

fn look_up(_: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let tool =
        |name: &str, options: &str| Program::new(format!("{name} -x -H ldap://{} {options}", peer.host));
    let people = "-b ou=people,dc=example,dc=net -LLL";
    let user = format!("uid=user{},ou=people,dc=example,dc=net", round % 120);
    match round % 4 {
        0 => vec![tool("ldapsearch", people).arg(format!("(uid=user{round})"))],
        1 => vec![
            tool("ldapsearch", &format!("{people} -D {user} -w secret")).arg("(sn=Number1*)").arg("mail"),
        ],
        2 => vec![tool("ldapwhoami", &format!("-D {user} -w secret"))],
        _ => vec![
            tool("ldapmodify", "-D cn=admin,dc=example,dc=net -w secret").input(format!(
                "dn: {user}\nchangetype: modify\nreplace: description\ndescription: round {round}\n"
            )),
            tool("ldapsearch", people).arg("(objectClass=*)"),
        ],
    }
}
