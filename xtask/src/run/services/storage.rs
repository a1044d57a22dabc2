//! A database: PostgreSQL and psql.

use anyhow::Result;

use super::{Endpoint, Peer, Program, Service, Site};

/// The folder of Debian's PostgreSQL programs.
const BIN: &str = "/usr/lib/postgresql/15/bin";

/// SQL over the network.
pub(super) const POSTGRESQL: Service = Service {
    name: "postgresql",
    implementations: &["postgres", "psql"],
    packages: &["postgresql-15", "postgresql-client-15"],
    endpoints: &[Endpoint::tcp(5432, "PostgreSQL")],
    servers: serve,
    exchange: query,
    interval: 1.5,
};

fn serve(site: &Site) -> Result<Vec<Program>> {
    let folder = site.folder("postgresql")?;
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    // The server refuses to run as root, and its data must be its user's.
    std::os::unix::fs::chown(&data, Some(65534), Some(65534))?;
    std::os::unix::fs::chown(&folder, Some(65534), Some(65534))?;
    let data = data.display();
    let as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    site.prepare(
        "postgresql",
        &Program::new(format!(
            "{as_nobody} {BIN}/initdb -D {data} -U app -A trust -E UTF8 --locale=C --no-sync"
        )),
    )?;
    std::fs::write(
        folder.join("data/pg_hba.conf"),
        "host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\nlocal all all trust\n",
    )?;
    Ok(vec![Program::new(format!(
        "{as_nobody} {BIN}/postgres -D {data} -k /tmp -c unix_socket_directories= -c listen_addresses=* -c fsync=off -c shared_buffers=16MB"
    ))])
}

fn query(_: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let script = match round % 4 {
        0 => "select version(); select now();".to_owned(),
        1 => format!(
            "create table if not exists sale_{0} (id serial primary key, item text, price numeric); \
             insert into sale_{0} (item, price) select 'item ' || n, n * 1.5 from generate_series(1, 200) n; \
             select count(*), sum(price) from sale_{0}; drop table sale_{0};",
            peer.version
        ),
        2 => "select * from pg_settings;".to_owned(),
        _ => (1..=15).map(|n| format!("select {n}, md5('{n}');\n")).collect(),
    };
    let mut psql =
        Program::new(format!("{BIN}/psql -X -q -v ON_ERROR_STOP=1 -U app -d postgres -h {}", peer.address))
            .env("PGSSLMODE", "disable")
            .env("PGCONNECT_TIMEOUT", "5");
    psql = psql.input(script);
    vec![psql]
}
