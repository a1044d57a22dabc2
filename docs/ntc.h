/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/* ntc, ABI version 3. Written from ntc-common by `cargo test -p ntc-common`; do not edit.
 *
 * Pinned maps, under /sys/fs/bpf/ntc/v3/:
 *   LABELS     hash       struct ntc_flow_key -> struct ntc_label
 *   HEARTBEAT  array [1]  struct ntc_heartbeat: use labels only while bpf_jiffies64() < deadline
 *
 * The key is the same for both directions: the end with the smaller (address, port), compared as
 * numbers in network byte order, is `lower`. IPv4 addresses are IPv4-mapped (::ffff:a.b.c.d).
 */
#ifndef NTC_H
#define NTC_H

#include <linux/types.h>

#define NTC_ABI_VERSION 3
#define NTC_MAX_SERVICES 4096
#define NTC_MARK_MASK_DEFAULT 0x00ff0000u
#define NTC_STAGE_PROVISIONAL 1
#define NTC_STAGE_FINAL 2

/* QoS classes; above these are the policy's own. */
#define NTC_MAX_CLASSES 16
#define NTC_CLASS_UNKNOWN 0
#define NTC_CLASS_MANAGEMENT 1
#define NTC_CLASS_WEB 2
#define NTC_CLASS_REALTIME 3
#define NTC_CLASS_STREAMING 4
#define NTC_CLASS_INTERACTIVE 5
#define NTC_CLASS_BULK 6
#define NTC_CLASS_MAIL 7
#define NTC_CLASS_INDUSTRIAL 8
#define NTC_CLASS_RPC 9
#define NTC_CLASS_TUNNEL 10

struct ntc_flow_key {
	__u8 lower_addr[16];
	__u8 upper_addr[16];
	__u8 lower_port[2];
	__u8 upper_port[2];
	__u8 protocol;
	__u8 ip_version;
	__u8 reserved[2];
};

struct ntc_label {
	__u64 start_ns;
	__u64 set_at_ns;
	__u32 model_epoch;
	__u16 service;
	__u16 confidence;
	__u16 acts_as;
	__u16 acts_confidence;
	__u8 stage;
	__u8 class;
	__u8 packets;
	__u8 changes;
};

struct ntc_heartbeat {
	__u64 deadline;
	__u64 set_at;
};

#endif /* NTC_H */
