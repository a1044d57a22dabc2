//! PostgreSQL: a server on pgwire, with tables that the seed makes up; tokio-postgres as client.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use anyhow::Result;
use async_trait::async_trait;
use futures::{Sink, stream};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, PgWireServerHandlers, PidSecretKeyGenerator as _,
        RandomPidSecretKeyGenerator, Type,
        auth::{
            self, AuthSource, DefaultServerParameterProvider, LoginInfo, Password, ServerParameterProvider,
            StartupHandler,
            cleartext::CleartextPasswordAuthStartupHandler,
            md5pass::{Md5PasswordAuthStartupHandler, hash_md5_password},
        },
        portal::{Format, Portal},
        query::{ExtendedQueryHandler, SimpleQueryHandler},
        results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag},
        stmt::QueryParser,
        store::PortalStore,
    },
    error::{ErrorInfo, PgWireError, PgWireResult},
    messages::{PgWireBackendMessage, PgWireFrontendMessage, data::DataRow},
    tokio::process_socket,
};
use tokio::{net::TcpListener, time::sleep};
use tokio_postgres::{Config, NoTls, SimpleQueryMessage, types::ToSql};

use crate::work::Work;

const PASSWORD: &str = "secret";

/// What all connections share: a question gets the same answer each time.
struct Shop {
    work: Work,
    parameters: Arc<Parameters>,
    login: Login,
}

#[derive(Clone, Copy)]
enum Login {
    Trust,
    Clear,
    Md5,
}

/// What the server tells of itself: names and zones of this round, by some servers little.
#[derive(Debug)]
struct Parameters {
    told: DefaultServerParameterProvider,
    few: bool,
}

impl Parameters {
    fn new(work: &mut Work) -> Self {
        let mut told = DefaultServerParameterProvider::default();
        let version =
            work.pick(["13.4", "14.9 (Debian 14.9-1.pgdg120+1)", "16.1", "12.17", "17.2 (Ubuntu 17.2-1)"]);
        told.server_version = version.to_owned();
        told.time_zone = work.pick(["UTC", "Etc/UTC", "Europe/Berlin", "America/Los_Angeles"]).to_owned();
        told.search_path = work.pick(["public", "\"$user\", public", "app"]).to_owned();
        told.is_superuser = work.happens(0.2);
        Self { told, few: work.happens(0.2) }
    }
}

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let mut told = self.told.server_parameters(client)?;
        if self.few {
            let needed = ["server_version", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes"];
            told.retain(|name, _| needed.contains(&name.as_str()));
        }
        Some(told)
    }
}

#[derive(Debug)]
struct Passwords {
    /// Of MD5.
    salt: Option<[u8; 4]>,
}

#[async_trait]
impl AuthSource for Passwords {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        Ok(match self.salt {
            Some(salt) => {
                let hash = hash_md5_password(login.user().unwrap_or_default(), PASSWORD, &salt);
                Password::new(Some(salt.to_vec()), hash.into_bytes())
            }
            None => Password::new(None, PASSWORD.into()),
        })
    }
}

/// How a connection begins.
enum Startup {
    Trust(Arc<Parameters>),
    Clear(CleartextPasswordAuthStartupHandler<Passwords, Arc<Parameters>>),
    Md5(Md5PasswordAuthStartupHandler<Passwords, Parameters>),
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match self {
            Self::Clear(handler) => handler.on_startup(client, message).await,
            Self::Md5(handler) => handler.on_startup(client, message).await,
            Self::Trust(parameters) => {
                if let PgWireFrontendMessage::Startup(startup) = &message {
                    auth::protocol_negotiation(client, startup).await?;
                    auth::save_startup_parameters_to_metadata(client, startup);
                    let (process, key) = RandomPidSecretKeyGenerator::default().generate(client);
                    client.set_pid_and_secret_key(process, key);
                    auth::finish_authentication(client, parameters).await?;
                }
                Ok(())
            }
        }
    }
}

#[derive(Clone)]
struct Handlers(Arc<Shop>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::new(self.clone())
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::new(self.clone())
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        let parameters = Arc::clone(&self.0.parameters);
        Arc::new(match self.0.login {
            Login::Trust => Startup::Trust(parameters),
            Login::Clear => {
                Startup::Clear(CleartextPasswordAuthStartupHandler::new(Passwords { salt: None }, parameters))
            }
            Login::Md5 => {
                let salt = self.0.draws("salt").int(1, u32::MAX).to_be_bytes();
                Startup::Md5(Md5PasswordAuthStartupHandler::new(
                    Arc::new(Passwords { salt: Some(salt) }),
                    parameters,
                ))
            }
        })
    }
}

/// A question, as far as it decides what the answer looks like.
enum Asked {
    Rows { columns: Vec<(String, Type)>, count: usize },
    Done(Tag),
    Begin,
    End(&'static str),
    Wrong(Box<ErrorInfo>),
}

impl Shop {
    /// Draws that belong to a question or a table.
    fn draws(&self, of: &str) -> Work {
        let mixed = of.bytes().fold(0, |hash: u32, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        self.work.with(mixed)
    }

    fn asked(&self, sql: &str) -> Asked {
        let lower = sql.trim().to_lowercase();
        let words: Vec<&str> = lower.split(|c: char| c.is_whitespace() || c == ';').collect();
        let after =
            |word| words.iter().position(|known| *known == word).and_then(|place| words.get(place + 1));
        let mut draws = self.draws(&lower);
        match words[0] {
            "begin" | "start" => Asked::Begin,
            "commit" => Asked::End("COMMIT"),
            "rollback" => Asked::End("ROLLBACK"),
            "insert" => Asked::Done(Tag::new("INSERT").with_oid(0).with_rows(1)),
            "update" | "delete" => {
                Asked::Done(Tag::new(&words[0].to_uppercase()).with_rows(draws.count(0, 40)))
            }
            "select" | "show" | "with" | "values" => {
                let Some(&table) = after("from") else {
                    return Asked::Rows { columns: vec![("?column?".to_owned(), Type::INT4)], count: 1 };
                };
                if table.starts_with("missing") {
                    let said = format!("relation \"{table}\" does not exist");
                    return Asked::Wrong(Box::new(ErrorInfo::new(
                        "ERROR".to_owned(),
                        "42P01".to_owned(),
                        said,
                    )));
                }
                if lower.contains("count(") {
                    let columns = vec![("count".to_owned(), Type::INT8), ("sum".to_owned(), Type::FLOAT8)];
                    return Asked::Rows { columns, count: 1 };
                }
                let limit = after("limit").and_then(|limit| limit.parse().ok());
                let one = lower.contains("where id =");
                let count = if one { usize::from(draws.happens(0.9)) } else { draws.size(1, 600) };
                Asked::Rows { columns: self.columns(table, &words), count: limit.unwrap_or(count) }
            }
            other => Asked::Done(Tag::new(&other.to_uppercase())),
        }
    }

    /// Those that are named, or all of the table.
    fn columns(&self, table: &str, words: &[&str]) -> Vec<(String, Type)> {
        let named: Vec<_> = words[1..].iter().take_while(|word| **word != "from").collect();
        if named.first().is_some_and(|first| **first != "*") {
            return named.iter().map(|name| (name.trim_matches(',').to_owned(), Type::TEXT)).collect();
        }
        let mut draws = self.draws(table);
        let mut columns = vec![("id".to_owned(), Type::INT4), ("name".to_owned(), Type::TEXT)];
        let types = [Type::FLOAT8, Type::INT8, Type::BOOL, Type::VARCHAR, Type::TEXT, Type::INT4];
        columns.extend((0..draws.count(1, 12)).map(|_| (draws.word(), draws.pick(types.clone()))));
        columns
    }

    fn rows(
        &self,
        sql: &str,
        fields: &Arc<Vec<FieldInfo>>,
        count: usize,
    ) -> PgWireResult<Vec<PgWireResult<DataRow>>> {
        let mut draws = self.draws(sql);
        let longest = draws.size(8, 400) as u32;
        let mut encoder = DataRowEncoder::new(Arc::clone(fields));
        let mut rows = Vec::with_capacity(count);
        for number in 0..count {
            for field in fields.iter() {
                match *field.datatype() {
                    _ if field.name() != "id" && draws.happens(0.03) => encoder.encode_field(&None::<i32>)?,
                    Type::INT4 if field.name() == "id" => encoder.encode_field(&(number as i32))?,
                    Type::INT4 => encoder.encode_field(&(draws.size(1, 1 << 30) as i32))?,
                    Type::INT8 => encoder.encode_field(&(draws.size(1, u32::MAX) as i64))?,
                    Type::FLOAT8 => encoder.encode_field(&(1000.0 * draws.draw()))?,
                    Type::BOOL => encoder.encode_field(&draws.happens(0.5))?,
                    _ => encoder.encode_field(&draws.text(3, longest))?,
                }
            }
            rows.push(Ok(encoder.take_row()));
        }
        Ok(rows)
    }

    fn respond(&self, sql: &str, format: &Format) -> PgWireResult<Response> {
        Ok(match self.asked(sql) {
            Asked::Rows { columns, count } => {
                let fields = Arc::new(fields(columns, format));
                let rows = self.rows(sql, &fields, count)?;
                Response::Query(QueryResponse::new(fields, stream::iter(rows)))
            }
            Asked::Done(tag) => Response::Execution(tag),
            Asked::Begin => Response::TransactionStart(Tag::new("BEGIN")),
            Asked::End(word) => Response::TransactionEnd(Tag::new(word)),
            Asked::Wrong(said) => Response::Error(said),
        })
    }
}

fn fields(columns: Vec<(String, Type)>, format: &Format) -> Vec<FieldInfo> {
    let field = |(place, (name, kind))| {
        // One format for each column, or for all of them.
        let format = match format {
            Format::Individual(formats) => {
                formats.get(place).map_or(FieldFormat::Text, |&code| FieldFormat::from(code))
            }
            one => one.format_for(place),
        };
        FieldInfo::new(name, None, None, kind, format)
    };
    columns.into_iter().enumerate().map(field).collect()
}

#[async_trait]
impl SimpleQueryHandler for Handlers {
    async fn do_query<C>(&self, _: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let questions = query.split(';').filter(|question| !question.trim().is_empty());
        questions.map(|question| self.0.respond(question, &Format::UnifiedText)).collect()
    }
}

#[async_trait]
impl ExtendedQueryHandler for Handlers {
    type Statement = String;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }

    async fn do_query<C>(&self, _: &mut C, portal: &Portal<String>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = String>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.0.respond(&portal.statement.statement, &portal.result_column_format)
    }
}

#[async_trait]
impl QueryParser for Handlers {
    type Statement = String;

    async fn parse_sql<C>(&self, _: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<String>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        // A server finds out here what it does not have.
        match self.0.asked(sql) {
            Asked::Wrong(said) => Err(PgWireError::UserError(said)),
            _ => Ok(Some(sql.to_owned())),
        }
    }

    fn get_parameter_types(&self, sql: &String) -> PgWireResult<Vec<Type>> {
        let count = sql.matches('$').count();
        let inserted = sql.trim_start().to_lowercase().starts_with("insert");
        let types = if inserted { [Type::TEXT, Type::FLOAT8] } else { [Type::INT4, Type::INT4] };
        Ok(types.into_iter().cycle().take(count).collect())
    }

    fn get_result_schema(&self, sql: &String, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        Ok(match self.0.asked(sql) {
            Asked::Rows { columns, .. } => fields(columns, format.unwrap_or(&Format::UnifiedText)),
            _ => Vec::new(),
        })
    }
}

/// With or without a password.
pub async fn postgres_server(mut work: Work) -> Result<()> {
    let listener = TcpListener::bind(work.at).await?;
    let parameters = Arc::new(Parameters::new(&mut work));
    let login = work.pick([Login::Trust, Login::Clear, Login::Md5, Login::Md5]);
    let handlers = Handlers(Arc::new(Shop { work, parameters, login }));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let handlers = handlers.clone();
        tokio::spawn(async move {
            if let Err(error) = process_socket(stream, None, handlers).await {
                println!("{error}");
            }
        });
    }
}

/// Questions, prepared or simple, some in transactions, some wrong.
pub async fn postgres_client(mut work: Work) -> Result<()> {
    let mut config = Config::new();
    let wrong = work.happens(0.05);
    config.host(work.at.ip().to_string()).port(work.at.port()).user("app").dbname("shop");
    config.password(if wrong { "wrong" } else { PASSWORD });
    if work.happens(0.5) {
        config.application_name(work.word());
    }
    let (client, connection) = match config.connect(NoTls).await {
        Err(error) if wrong => {
            println!("{error}");
            return Ok(());
        }
        connected => connected?,
    };
    let reading = tokio::spawn(connection);
    let table = work.pick(["item", "item", "users", "orders", "log"]);
    for _ in 0..work.count(1, 14) {
        ask(&mut work, &client, table).await?;
        sleep(work.pause(0.001, 0.5)).await;
    }
    drop(client);
    reading.await??;
    Ok(())
}

async fn ask(work: &mut Work, client: &tokio_postgres::Client, table: &str) -> Result<()> {
    let id = work.int(0, 2000);
    match work.int(0, 7) {
        0 => _ = client.simple_query("select 1").await?,
        1 => _ = client.query(&format!("select * from {table} where id = $1"), &[&(id as i32)]).await?,
        2 => {
            let limit = work.size(1, 500);
            let found = client.simple_query(&format!("select * from {table} limit {limit}")).await?;
            let rows = found.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_)));
            println!("{} rows", rows.count());
        }
        3 => _ = client.query(&format!("select count(*), sum(price) from {table}"), &[]).await?,
        4 => {
            let (name, price) = (work.text(3, 300), 100.0 * work.draw());
            let values: [&(dyn ToSql + Sync); 2] = [&name, &price];
            client.execute(&format!("insert into {table} (name, price) values ($1, $2)"), &values).await?;
        }
        5 => {
            let statement = client.prepare(&format!("select name from {table} where id = $1")).await?;
            for _ in 0..work.count(1, 8) {
                client.query(&statement, &[&(work.int(0, 2000) as i32)]).await?;
                sleep(work.pause(0.001, 0.1)).await;
            }
        }
        6 => {
            let change = format!("update {table} set price = {id} where id = {id}");
            client.batch_execute("begin").await?;
            client.batch_execute(&change).await?;
            client.batch_execute(work.pick(["commit", "rollback"])).await?;
        }
        _ => {
            let asked = format!("select * from missing_{table}");
            if let Err(error) = client.query(&asked, &[]).await {
                println!("{error}");
            }
        }
    }
    Ok(())
}
