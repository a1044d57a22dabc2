"""MySQL: mysql-mimic; PyMySQL, mysql-connector. Redis: fakeredis, redis-py.
Memcached: pymemcache.
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
