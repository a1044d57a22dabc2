# DNS between hosts of the trial: `serve ADDRESS`, `ask ADDRESS COUNT` (a flow each), `call ADDRESS` (one flow, until ended).
use strict;
use warnings;
use IO::Socket::INET;

my ($what, $address, $count) = @ARGV;
my $name = "\3www\7example\3net\0";

if ($what eq 'serve') {
    my $socket = IO::Socket::INET->new(LocalAddr => $address, LocalPort => 53, Proto => 'udp') or die "serve: $!";
    while (defined(my $from = $socket->recv(my $question, 512))) {
        # The question again, with an A record for it.
        my $answer = substr($question, 0, 2) . pack('n5', 0x8180, 1, 1, 0, 0) . substr($question, 12);
        $answer .= pack('nnnNnC4', 0xc00c, 1, 1, 300, 4, 192, 0, 2, 80);
        $socket->send($answer, 0, $from);
    }
    die "serve: $!";
}

sub ask {
    my ($socket, $id) = @_;
    $socket->send(pack('n6', $id, 0x0100, 1, 0, 0, 0) . $name . pack('n2', 1, 1)) or die "ask: $!";
    local $SIG{ALRM} = sub { die "no answer from $address\n" };
    alarm 10;
    $socket->recv(my $answer, 512) // die "ask: $!";
    alarm 0;
}

sub peer {
    return IO::Socket::INET->new(PeerAddr => $address, PeerPort => 53, Proto => 'udp') || die "ask: $!";
}

if ($what eq 'ask') {
    ask(peer(), $_) for 1 .. $count;
} else {
    my $socket = peer();
    # A packet may be lost while programs change.
    for (my $id = 1; ; $id = $id % 60000 + 1) {
        eval { ask($socket, $id) };
        select(undef, undef, undef, 0.2);
    }
}
