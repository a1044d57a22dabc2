// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * A tc program of your own that reads ntc's labels: it counts packets by the class of their flow, and leaves them alone.
 *
 *   clang -O2 -g -target bpf -I/usr/share/doc/ntc -I/usr/include/$(uname -m)-linux-gnu \
 *       -c label_classes.bpf.c -o label_classes.o
 *   bpftool prog load label_classes.o /sys/fs/bpf/label_classes \
 *       map name LABELS pinned /sys/fs/bpf/ntc/v3/LABELS \
 *       map name HEARTBEAT pinned /sys/fs/bpf/ntc/v3/HEARTBEAT
 *   tc qdisc add dev eth0 clsact
 *   tc filter add dev eth0 ingress bpf direct-action pinned /sys/fs/bpf/label_classes
 *   bpftool map dump name CLASSES
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "ntc.h"

/* What the loader replaces by the pinned maps: type, key and value have to be theirs, the size is not looked at. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct ntc_flow_key);
	__type(value, struct ntc_label);
} LABELS SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ntc_heartbeat);
} HEARTBEAT SEC(".maps");

/* Packets by class; the first counts those without a label that may be used. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NTC_MAX_CLASSES);
	__type(key, __u32);
	__type(value, __u64);
} CLASSES SEC(".maps");

struct end {
	__be64 addr[2];
	__be16 port;
};

static __always_inline void mapped(struct end *end, __be32 addr)
{
	end->addr[1] = bpf_cpu_to_be64(0xffff00000000ULL | bpf_ntohl(addr));
}

/* One key for both directions: the end with the smaller address, then port, comes first. */
static __always_inline int comes_first(const struct end *a, const struct end *b)
{
	if (a->addr[0] != b->addr[0])
		return bpf_be64_to_cpu(a->addr[0]) < bpf_be64_to_cpu(b->addr[0]);
	if (a->addr[1] != b->addr[1])
		return bpf_be64_to_cpu(a->addr[1]) < bpf_be64_to_cpu(b->addr[1]);
	return bpf_ntohs(a->port) <= bpf_ntohs(b->port);
}

static __always_inline void fill(struct ntc_flow_key *key, const struct end *lower, const struct end *upper)
{
	__builtin_memcpy(key->lower_addr, lower->addr, 16);
	__builtin_memcpy(key->upper_addr, upper->addr, 16);
	__builtin_memcpy(key->lower_port, &lower->port, 2);
	__builtin_memcpy(key->upper_port, &upper->port, 2);
}

static __always_inline int ends(struct __sk_buff *skb, struct end *source, struct end *destination,
				struct ntc_flow_key *key)
{
	__u32 transport;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
			return -1;
		/* Only the first fragment has ports. */
		if (ip.frag_off & bpf_htons(0x1fff))
			return -1;
		mapped(source, ip.saddr);
		mapped(destination, ip.daddr);
		key->protocol = ip.protocol;
		key->ip_version = 4;
		transport = ETH_HLEN + ip.ihl * 4;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
			return -1;
		__builtin_memcpy(source->addr, &ip.saddr, 16);
		__builtin_memcpy(destination->addr, &ip.daddr, 16);
		/* Extension headers are left out here. */
		key->protocol = ip.nexthdr;
		key->ip_version = 6;
		transport = ETH_HLEN + sizeof(ip);
	} else {
		return -1;
	}
	if (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_UDP)
		return -1;
	if (bpf_skb_load_bytes(skb, transport, &source->port, 2) ||
	    bpf_skb_load_bytes(skb, transport + 2, &destination->port, 2))
		return -1;
	return 0;
}

static __always_inline struct ntc_label *label_of(struct __sk_buff *skb)
{
	struct ntc_flow_key key = {};
	struct end source = {}, destination = {};
	struct ntc_heartbeat *heartbeat;
	__u32 zero = 0;

	heartbeat = bpf_map_lookup_elem(&HEARTBEAT, &zero);
	if (!heartbeat || bpf_jiffies64() >= heartbeat->deadline)
		return NULL; /* no agent: labels do not count */
	if (ends(skb, &source, &destination, &key))
		return NULL;
	if (comes_first(&source, &destination))
		fill(&key, &source, &destination);
	else
		fill(&key, &destination, &source);
	return bpf_map_lookup_elem(&LABELS, &key);
}

SEC("tc")
int label_classes(struct __sk_buff *skb)
{
	struct ntc_label *label = label_of(skb);
	__u32 class = NTC_CLASS_UNKNOWN;
	__u64 *count;

	if (label)
		class = label->class;
	count = bpf_map_lookup_elem(&CLASSES, &class);
	if (count)
		*count += 1;
	/* The programs behind this one have their say, ntc's among them. */
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
