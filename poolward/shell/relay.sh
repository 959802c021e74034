# A program that leads its standard input and output to a Unix socket (PATH) or a TCP port (ADDRESS PORT); a + comes first,
# once it is connected. It runs as the user, or in the network, that the command in front gives it.
command -v perl >/dev/null || fail "there is no perl on this host, which Debian's package perl-base has"
# shellcheck disable=SC2016 - perl
relay='
    use IO::Select;
    use IO::Socket::IP;
    use IO::Socket::UNIX;
    my $socket = @ARGV == 1 ? IO::Socket::UNIX->new(Peer => $ARGV[0])
        : IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Timeout => 5);
    $socket or die "@ARGV: $!\n";
    my $both = IO::Select->new(\*STDIN, $socket);
    syswrite(STDOUT, "+");
    while (1) {
        for my $from ($both->can_read) {
            sysread($from, my $bytes, 65536) or exit;
            my $to = $from == $socket ? \*STDOUT : $socket;
            while (length $bytes) {
                my $written = syswrite($to, $bytes) or exit;
                substr($bytes, 0, $written, "");
            }
        }
    }'
