package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/polset/polset"
)

// defaultConnect bounds the making of a connection.
const defaultConnect = 10 * time.Second

// DialContext returns the dialer of this package, for the http.Transport of
// another client that reaches addresses which a tenant can name, such as those
// of a REST API. It refuses every address that is not public and that allow
// does not contain, as Config.AllowPrivate says, after the name was resolved
// and for each connection. The transport must use no proxy, which would dial in
// its place. connect bounds the making of a connection; 0 is 10 s.
//
// What is refused fails with a *polset.Failure of ClassURLForbidden in the
// error's chain, which http.Client keeps. Other errors are those of net.Dialer.
func DialContext(allow []netip.Prefix, connect time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	if connect <= 0 {
		connect = defaultConnect
	}
	dialer := (&guard{allow: allow}).dialer(connect)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		var forbidden *forbiddenAddressError
		if !errors.As(err, &forbidden) {
			return conn, err
		}
		host, _, splitErr := net.SplitHostPort(address)
		if splitErr != nil {
			host = address
		}
		// The address that the name leads to is for the log only.
		f := polset.Fail(polset.ClassURLForbidden,
			"polset does not dial %s: its address is not a public one. The operator can allow the network by POLSET_ALLOW_PRIVATE_NETWORKS.", quote(host))
		f.Err = err
		return nil, f
	}
}

// A guard refuses connections to addresses that are not public. It judges the
// address that is about to be dialed, after the name was resolved, so that no
// spelling of an address and no changing DNS record gets around it.
type guard struct {
	allow []netip.Prefix
}

// A forbiddenAddressError is what a refused dial fails with.
type forbiddenAddressError struct{ addr netip.Addr }

func (e *forbiddenAddressError) Error() string {
	return fmt.Sprintf("address %s is not public", e.addr)
}

func (g *guard) dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:   timeout,
		KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("judge address %q: %w", address, err)
			}
			if !g.permits(ap.Addr()) {
				return &forbiddenAddressError{ap.Addr()}
			}
			return nil
		},
	}
}

func (g *guard) permits(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	for _, p := range g.allow {
		if p.Contains(addr) {
			return true
		}
	}
	if inner, ok := embedded(addr); ok {
		return g.permits(inner)
	}
	for _, p := range notPublic() {
		if p.Contains(addr) {
			return false
		}
	}
	// Of IPv6 only 2000::/3 is handed out to the public.
	return addr.Is4() || netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20}), 3).Contains(addr)
}

// embedded returns the IPv4 address that a translator on the way (NAT64, 6to4)
// would dial for addr.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// notPublic lists what IANA's special-purpose registries do not call globally
// reachable, and multicast.
func notPublic() []netip.Prefix {
	prefixes := []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
		"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
		"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"2001::/23",     // protocol assignments, Teredo among them
		"2001:db8::/32", // documentation
		"3fff::/20",     // documentation
	}
	list := make([]netip.Prefix, len(prefixes))
	for i, p := range prefixes {
		list[i] = netip.MustParsePrefix(p)
	}
	return list
}
