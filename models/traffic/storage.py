"""MySQL: mysql-mimic; PyMySQL, mysql-connector. PostgreSQL: Buena Vista over SQLite; pg8000, asyncpg. Redis: fakeredis,
redis-py. Memcached: pymemcache.
"""

from . import main


def questions(work):
    return [work.pick("select 1", f"select * from item limit {work.size(1, 400)}", "select count(*), sum(price) from item",
                      f"select name from item where id = {work.random.randrange(2000)}") for _ in range(work.count(1, 10))]


def mimic_server(work):
    from mysql_mimic import MysqlServer, Session

    class Shop(Session):
        async def query(self, expression, sql, attrs):
            lines = 1 if "count" in sql or "= " in sql else work.size(1, 400)
            return [(number, f"item {number}", number * 1.5) for number in range(lines)], ["id", "name", "price"]

        async def schema(self):
            return {"item": {"id": "INT", "name": "TEXT", "price": "DOUBLE"}}

    server = MysqlServer(session_factory=Shop)

    async def serve():
        await server.start_server(host=work.host, port=work.port)
        await server.serve_forever()

    return serve()


def pymysql_client(work):
    import pymysql

    connection = pymysql.connect(host=work.host, port=work.port, user="app", password=work.more[0] if work.more else "",
                                 database=None, connect_timeout=10, ssl_disabled=True)
    with connection.cursor() as cursor:
        for question in questions(work):
            cursor.execute(question.replace("item", "shop.item"))
            cursor.fetchall()
            work.think(0.002, 0.4)
    connection.close()


def connector_client(work):
    import mysql.connector

    connection = mysql.connector.connect(host=work.host, port=work.port, user="app", use_pure=True, ssl_disabled=True,
                                         connection_timeout=10)
    cursor = connection.cursor()
    for question in questions(work):
        cursor.execute(question.replace("item", "shop.item"))
        cursor.fetchall()
        work.think(0.002, 0.4)
    connection.close()


def buenavista_server(work):
    """Speaks PostgreSQL's protocol before a database of SQLite."""
    import os
    import socket
    import sqlite3

    from buenavista.core import BVType, Connection, QueryResult, Session
    from buenavista.postgres import BuenaVistaHandler, BuenaVistaServer

    types = {int: BVType.BIGINT, float: BVType.FLOAT, str: BVType.TEXT, type(None): BVType.TEXT}

    class Result(QueryResult):
        def __init__(self, cursor, words):
            super().__init__()
            self.columns = [column[0] for column in cursor.description or ()]
            self.found = cursor.fetchall() if self.columns else []
            self.done = words

        def has_results(self):
            return bool(self.columns)

        def column_count(self):
            return len(self.columns)

        def column(self, index):
            value = self.found[0][index] if self.found else None
            return self.columns[index], types[type(value)]

        def rows(self):
            return iter([list(row) for row in self.found])

        def status(self):
            return self.done

    class Shop(Session):
        def __init__(self):
            super().__init__()
            self.database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self.database.execute("create table item (id integer primary key, name text, price real)")
            rows = [(f"{work.word()} {number}", work.random.random()) for number in range(500)]
            self.database.executemany("insert into item (name, price) values (?, ?)", rows)

        def close(self):
            self.database.close()

        def execute_sql(self, sql, params=None):
            first = sql.split()[0].upper() if sql.split() else ""
            if first in ("SET", "SHOW", "DISCARD", "RESET", "UNLISTEN"):
                return Result(self.database.execute("select 1 where 0"), first)
            # Described before it is bound.
            params = params or [None] * sql.count("$")
            return Result(self.database.execute(sql, params or ()), first)

        def in_transaction(self):
            return self.database.in_transaction

    class Shops(Connection):
        def new_session(self):
            return Shop()

        def parameters(self):
            """What servers of version 14 and later tell (protocol, section 55.2.7), with names and zones of this round."""
            zone, user = work.pick("UTC", "Etc/UTC", "Europe/Berlin", "America/Los_Angeles"), "app"
            told = {"application_name": "", "client_encoding": "UTF8", "DateStyle": work.pick("ISO, MDY", "ISO, DMY"),
                    "default_transaction_read_only": "off", "in_hot_standby": "off", "integer_datetimes": "on",
                    "IntervalStyle": "postgres", "is_superuser": "off", "server_encoding": "UTF8",
                    "server_version": work.pick("13.4", "14.9 (Buena Vista)", "16.1", "12.17"), "session_authorization": user,
                    "standard_conforming_strings": "on", "TimeZone": zone}
            return told if work.random.random() < 0.8 else dict(list(told.items())[1:5])

    class Handler(BuenaVistaHandler):
        """All that is said before the next question goes in one piece."""

        wbufsize = 65_536

        def setup(self):
            super().setup()
            read = self.rfile.read

            class Asked:
                @staticmethod
                def read(count):
                    self.wfile.flush()
                    return read(count)

            self.rfile = Asked

    os.environ["BUENAVISTA_HOST"] = work.host  # others than this machine may ask
    BuenaVistaServer.address_family = socket.AF_INET6 if work.six else socket.AF_INET
    auth = {"app": "secret"} if work.random.random() < 0.6 else None
    server = BuenaVistaServer((work.host, work.port), Shops(), auth=auth)
    server.RequestHandlerClass = Handler
    server.daemon_threads = True
    server.serve_forever()


def pg8000_client(work):
    import pg8000.native

    with_tls_asked = work.random.random() < 0.5
    connection = pg8000.native.Connection("app", host=work.host, port=work.port, password="secret", database="shop", timeout=10,
                                          ssl_context=None if with_tls_asked else False)
    for question in questions(work):
        connection.run(question)
        if work.random.random() < 0.2:
            connection.run(f"insert into item (name, price) values ('{work.text(3, 200)}', {work.random.random():.2f})")
        work.think(0.002, 0.4)
    connection.close()


async def asyncpg_client(work):
    import asyncio

    import asyncpg

    connection = await asyncpg.connect(host=work.host, port=work.port, user="app", password="secret", database="shop", timeout=10,
                                       ssl=work.pick("prefer", "disable"), statement_cache_size=work.pick(0, 100))
    for question in questions(work):
        await work.pick(connection.fetch, connection.execute)(question)
        await asyncio.sleep(work.pause(0.002, 0.4))
    await connection.close()


def fakeredis_server(work):
    import socket

    from fakeredis import TcpFakeServer

    TcpFakeServer.address_family = socket.AF_INET6 if work.six else socket.AF_INET
    TcpFakeServer((work.host, work.port), server_type="redis").serve_forever()


def redis_client(work):
    import redis

    client = redis.Redis(host=work.host, port=work.port, protocol=2, socket_timeout=10)
    for _ in range(work.count(2, 25)):
        key = f"{work.pick('user', 'cart', 'page')}:{work.random.randrange(50)}"
        work.pick(lambda: client.get(key), lambda: client.get(key), lambda: client.set(key, work.bytes(2, 20_000)),
                  lambda: client.incr("hits"), lambda: client.delete(key), lambda: client.exists(key))()
        work.think(0.001, 0.4)
    client.close()


def memcache_client(work):
    from pymemcache.client.base import Client

    client = Client((work.host, work.port), timeout=10)
    for _ in range(work.count(2, 25)):
        key = f"{work.word()[:1]}{work.random.randrange(20)}"
        work.pick(lambda: client.get(key), lambda: client.get(key), lambda: client.set(key, work.bytes(2, 20_000)),
                  lambda: client.get_many([key, "a1", "b2"]), lambda: client.delete(key), client.version)()
        work.think(0.001, 0.4)
    client.close()


if __name__ == "__main__":
    main(globals())
