package archive

import "strconv"

// quote makes a hostile name safe to show: escaped, and not longer than a
// message for people can bear.
func quote(name string) string {
	const most = 400
	if len(name) > most {
		return strconv.Quote(name[:most]) + "…"
	}
	return strconv.Quote(name)
}
