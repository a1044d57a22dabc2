#!/usr/bin/env python3
"""Calls get their own treatment in an OpenFlow 1.3 switch, by ntc's labels: an os-ken application.

    ntc --- /v1/events: new, changed, ended ---> this program --- OpenFlow 1.3 ---> switch

Each flow that ntc labels as wanted gets one entry a direction, so the switch counts it by itself. All of them share a
meter, which bounds what they may take, and each packet gets a code point and, where the switch has one, a queue. When
ntc tells that the flow has ended, or is something else after all, the entries go, and the switch's last counts are
printed. All other packets take the switch's normal path.

    python3 osken_calls.py --ntc unix:/run/ntc/ntc-v3.sock --label-class realtime --meter-kbps 2000 --queue 1
"""

import http.client
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import urllib.parse

from os_ken import cfg
from os_ken.base.app_manager import AppManager, OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.ofproto import ofproto_v1_3

OPTIONS = [
    cfg.StrOpt("ntc", default="unix:/run/ntc/ntc-v3.sock", help="ntc's socket, or its URL (token: NTC_TOKEN)"),
    cfg.StrOpt("label-class", default="realtime", help="classes of ntc's, by commas; empty: all"),
    cfg.StrOpt("label-service", default="", help="services or protocols, by commas; empty: all"),
    cfg.FloatOpt("min-confidence", default=0.5, help="labels that are less sure are left alone"),
    cfg.IntOpt("dscp", default=46, help="code point of a call's packets; 46 is EF (RFC 3246)"),
    cfg.IntOpt("meter-kbps", default=2000, help="what all calls together may take; 0: no meter"),
    cfg.IntOpt("queue", default=0, help="queue of the ports; 0: leave packets where they are"),
    cfg.IntOpt("idle-timeout", default=600, help="s until entries go by themselves: longer than ntc's own"),
]
CONF = cfg.CONF
CONF.register_cli_opts(OPTIONS)

COOKIE = 0x6E7463  # marks our entries ("ntc")
PRIORITY = 1000
METER = 1


class Ntc:
    """ntc's query interface: one stream of events, taken up again where it broke."""

    def __init__(self, address):
        self.url = urllib.parse.urlsplit(address)
        self.last_id = None

    def connect(self):
        if self.url.scheme == "unix":
            connection = http.client.HTTPConnection("localhost")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self.url.path)
        else:
            kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
            connection = kinds[self.url.scheme](self.url.netloc)
            connection.connect()
        # ntc says something every 15 s: silence means that the other side is gone.
        connection.sock.settimeout(60)
        return connection

    def events(self):
        """Yields (name, data) until the stream breaks. It goes on behind the last event, if ntc still has what came
        since; else it begins with a snapshot, which ends with `live`."""
        wanted = {"match": "openflow13", "min_confidence": CONF.min_confidence}
        wanted |= {"class": CONF.label_class} if CONF.label_class else {}
        wanted |= {"service": CONF.label_service} if CONF.label_service else {}
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        if "NTC_TOKEN" in os.environ:
            headers["Authorization"] = "Bearer " + os.environ["NTC_TOKEN"]
        connection = self.connect()
        try:
            connection.request("GET", "/v1/events?" + urllib.parse.urlencode(wanted), headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                raise http.client.HTTPException(f"{response.status}: {response.read().decode()}")
            yield "connected", None
            fields = {}
            for line in response:
                name, _, value = line.decode().rstrip("\r\n").partition(": ")
                if name:  # "event: new", "data: {...}"
                    fields[name] = value
                elif "event" in fields:  # an empty line ends an event
                    yield fields["event"], json.loads(fields["data"])
                    # Only what was dealt with is passed over when the stream is taken up again.
                    self.last_id = fields.get("id", self.last_id)
                    fields = {}
        finally:
            connection.close()


class Calls(OSKenApp):
    """Keeps the calls' entries in all switches that are connected."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.lock = threading.Lock()
        self.switches = {}  # datapath id: datapath
        self.calls = {}  # 5-tuple: both matches

    def start(self):
        threading.Thread(target=self.follow, daemon=True).start()
        return super().start()

    # --- what ntc tells ---

    def follow(self):
        ntc = Ntc(CONF.ntc)
        while True:
            confirmed = set()
            try:
                for event, flow in ntc.events():
                    with self.lock:
                        self.told(event, flow, confirmed)
            except (OSError, http.client.HTTPException, ValueError) as error:
                say("ntc", error=str(error))
            # Entries stay: calls go on, whatever becomes of ntc.
            time.sleep(1)

    def told(self, event, flow, confirmed):
        if event == "live":
            # The snapshot is over. What it did not have has ended while nobody listened.
            for call in self.calls.keys() - confirmed:
                self.ends(call)
        if event in ("connected", "live", "dropped"):
            return say(event)
        call = (flow["src_ip"], flow["src_port"], flow["dst_ip"], flow["dst_port"], flow["proto"])
        if event == "ended" or not wanted(flow):
            self.ends(call)
        else:
            confirmed.add(call)
            self.begins(call, flow)

    def begins(self, call, flow):
        if call in self.calls:
            return  # a label that only became surer
        self.calls[call] = flow["match"]
        for switch in self.switches.values():
            self.enter(switch, flow["match"])
        say("begins", **{field: flow[field] for field in ("service", "class", "confidence")}, match=flow["match"][0])

    def ends(self, call):
        for match in self.calls.pop(call, []):
            for switch in self.switches.values():
                switch.send_msg(self.change(switch, switch.ofproto.OFPFC_DELETE_STRICT, match))

    # --- what the switch is told ---

    def enter(self, switch, matches):
        ofp, parser = switch.ofproto, switch.ofproto_parser
        actions = [parser.OFPActionSetField(ip_dscp=CONF.dscp)]
        if CONF.queue:
            actions.append(parser.OFPActionSetQueue(CONF.queue))
        actions.append(parser.OFPActionOutput(ofp.OFPP_NORMAL))
        instructions = [parser.OFPInstructionMeter(METER)] if CONF.meter_kbps else []
        instructions.append(parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions))
        for match in matches:
            switch.send_msg(self.change(switch, ofp.OFPFC_ADD, match, instructions=instructions))

    @staticmethod
    def change(switch, command, match, instructions=()):
        ofp, parser = switch.ofproto, switch.ofproto_parser
        return parser.OFPFlowMod(
            switch, command=command, match=parser.OFPMatch(**match), instructions=instructions,
            cookie=COOKIE, priority=PRIORITY, idle_timeout=CONF.idle_timeout, flags=ofp.OFPFF_SEND_FLOW_REM,
            out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY)

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def switch_comes(self, event):
        switch = event.msg.datapath
        ofp, parser = switch.ofproto, switch.ofproto_parser
        # Of an earlier run of ours: its entries, and a meter that may have had another rate.
        switch.send_msg(parser.OFPFlowMod(
            switch, command=ofp.OFPFC_DELETE, table_id=ofp.OFPTT_ALL, cookie=COOKIE, cookie_mask=2**64 - 1,
            out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY))
        switch.send_msg(parser.OFPMeterMod(switch, command=ofp.OFPMC_DELETE, meter_id=METER))
        if CONF.meter_kbps:
            bands = [parser.OFPMeterBandDrop(rate=CONF.meter_kbps, burst_size=CONF.meter_kbps // 4)]
            flags = ofp.OFPMF_KBPS | ofp.OFPMF_BURST | ofp.OFPMF_STATS
            switch.send_msg(parser.OFPMeterMod(
                switch, command=ofp.OFPMC_ADD, flags=flags, meter_id=METER, bands=bands))
        # Everything else: as a switch without a controller.
        normal = [parser.OFPInstructionActions(
            ofp.OFPIT_APPLY_ACTIONS, [parser.OFPActionOutput(ofp.OFPP_NORMAL)])]
        switch.send_msg(parser.OFPFlowMod(switch, priority=0, match=parser.OFPMatch(), instructions=normal))
        with self.lock:
            self.switches[switch.id] = switch
            for matches in self.calls.values():
                self.enter(switch, matches)
        say("switch", dpid=f"{switch.id:016x}")

    @set_ev_cls(ofp_event.EventOFPStateChange, DEAD_DISPATCHER)
    def switch_goes(self, event):
        with self.lock:
            if self.switches.get(event.datapath.id) is event.datapath:
                del self.switches[event.datapath.id]

    # --- what the switch tells ---

    @set_ev_cls(ofp_event.EventOFPFlowRemoved, MAIN_DISPATCHER)
    def counted(self, event):
        removed = event.msg
        if removed.cookie == COOKIE:
            seconds = removed.duration_sec + removed.duration_nsec / 1e9
            say("ends", match=dict(removed.match.items()), packets=removed.packet_count,
                bytes=removed.byte_count, seconds=round(seconds, 3))

    @set_ev_cls(ofp_event.EventOFPErrorMsg, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def refused(self, event):
        say("refused", type=event.msg.type, code=event.msg.code)


def wanted(flow):
    """A stream with filters also tells, once, that a flow is no longer what was asked for."""
    def among(names, *values):
        return not names or any(value.lower() in names.lower().split(",") for value in values)
    return (among(CONF.label_class, flow["class"]) and flow["confidence"] >= CONF.min_confidence
            and among(CONF.label_service, flow["service"], flow["protocol"]))


def say(event, **fields):
    print(json.dumps({"event": event, "time": time.time(), **fields}), flush=True)


if __name__ == "__main__":
    CONF(sys.argv[1:], project="osken_calls", default_config_files=[])
    logging.basicConfig(level=logging.WARNING)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no thread has anything to put away
    # os-ken imports applications by name; this file's own is `__main__`.
    AppManager.run_apps(["__main__", "os_ken.controller.ofp_handler"])
