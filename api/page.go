package api

import (
	"net/url"
	"strconv"

	"github.com/polset/polset"
)

const (
	defaultPageSize = 20
	maxPageSize     = 100
	maxWholeList    = 1000          // of a list that is shown whole
	maxPageNumber   = 1_000_000_000 // so that offsets stay far from overflow
)

type meta struct {
	Pagination pagination `json:"pagination"`
}

// pagination is as HCP Terraform shows it. Prev and next are null at the ends.
type pagination struct {
	CurrentPage int  `json:"current-page"`
	PageSize    int  `json:"page-size"`
	PrevPage    *int `json:"prev-page"`
	NextPage    *int `json:"next-page"`
	TotalPages  int  `json:"total-pages"`
	TotalCount  int  `json:"total-count"`
}

type pageLinks struct {
	Self  string  `json:"self"`
	First string  `json:"first"`
	Prev  *string `json:"prev"`
	Next  *string `json:"next"`
	Last  string  `json:"last"`
}

// page reads page[number] and page[size]. Numbers outside the bounds are
// clamped; what is no whole number is refused.
func (r *request) page() (polset.Page, error) {
	return r.pageOf(defaultPageSize, maxPageSize)
}

// pageOrAll is page for the lists that HCP Terraform shows whole where a
// request names no page.
func (r *request) pageOrAll() (polset.Page, error) {
	if r.query.Get("page[number]") == "" && r.query.Get("page[size]") == "" {
		return polset.Page{Number: 1, Size: maxWholeList}, nil
	}
	return r.page()
}

func (r *request) pageOf(size, limit int) (polset.Page, error) {
	p := polset.Page{Number: 1, Size: size}
	for _, part := range []struct {
		name  string
		value *int
		limit int
	}{{"page[number]", &p.Number, maxPageNumber}, {"page[size]", &p.Size, limit}} {
		text := r.query.Get(part.name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return p, badParameter(part.name, "%s must be a whole number.", part.name)
		}
		*part.value = int(min(max(n, 1), int64(part.limit)))
	}
	return p, nil
}

// paginate describes a page of total rows. The requested number is shown even
// where it lies beyond the last page; such a page has no neighbours.
func paginate(page polset.Page, total int) pagination {
	p := pagination{
		CurrentPage: page.Number,
		PageSize:    page.Size,
		TotalPages:  max(1, (total+page.Size-1)/page.Size),
		TotalCount:  total,
	}
	if page.Number > 1 && page.Number <= p.TotalPages {
		p.PrevPage = orNull(page.Number - 1)
	}
	if page.Number < p.TotalPages {
		p.NextPage = orNull(page.Number + 1)
	}
	return p
}

// list returns the document of one page of a list.
func (a *API) list(r *request, data []resource, page polset.Page, total int, included ...resource) document {
	if data == nil {
		data = []resource{}
	}
	p := paginate(page, total)
	link := func(number int) string {
		query := url.Values{}
		for key, values := range r.query {
			query[key] = values
		}
		query.Set("page[number]", strconv.Itoa(number))
		query.Set("page[size]", strconv.Itoa(page.Size))
		return a.PublicURL + r.Request().URL.EscapedPath() + "?" + query.Encode()
	}
	links := &pageLinks{Self: link(page.Number), First: link(1), Last: link(p.TotalPages)}
	if p.PrevPage != nil {
		links.Prev = orNull(link(*p.PrevPage))
	}
	if p.NextPage != nil {
		links.Next = orNull(link(*p.NextPage))
	}
	return document{
		Data:     data,
		Included: onlyOthers(data, included),
		Links:    links,
		Meta:     &meta{p},
	}
}
