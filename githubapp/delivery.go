package githubapp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/polset/polset"
)

// deliveryAge is for how long GitHub can send a delivery again.
const deliveryAge = 3 * 24 * time.Hour

// An attempt is one time that GitHub tried to tell the App of an event. Those
// of one event share its GUID.
type attempt struct {
	ID          int64     `json:"id"`
	GUID        string    `json:"guid"`
	DeliveredAt time.Time `json:"delivered_at"`
	StatusCode  int       `json:"status_code"` // 0: there is no answer
	Event       string    `json:"event"`
}

func (a attempt) failed() bool { return a.StatusCode < 200 || a.StatusCode > 299 }

// attempts returns a page of them, newest first, and the cursor of the next
// page; "" is that of the first page, and says that there is no other.
func (c *Client) attempts(ctx context.Context, cursor string) (page []attempt, next string, err error) {
	query := url.Values{"per_page": {"100"}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	a, err := c.asApp(ctx, question{
		operation: "list-deliveries", doing: "list the App's deliveries", modest: true,
		method: http.MethodGet, path: "/app/hook/deliveries", query: query, into: &page,
	})
	if err != nil || len(page) == 0 {
		return nil, "", err
	}
	for i := range page {
		page[i].GUID = strings.ToLower(page[i].GUID)
	}
	return page, a.next("cursor"), nil
}

// redeliver asks GitHub to try once more.
func (c *Client) redeliver(ctx context.Context, id int64) error {
	_, err := c.asApp(ctx, question{
		operation: "redeliver", doing: "ask for a delivery once more", modest: true,
		method: http.MethodPost, path: fmt.Sprintf("/app/hook/deliveries/%d/attempts", id), mutates: true,
	})
	return err
}

// Redeliver asks GitHub to send a delivery of the App once more, whatever
// became of it. It arrives with the same GUID. ErrNotFound says that GitHub
// knows of none within the last three days, which is as long as it can.
func (c *Client) Redeliver(ctx context.Context, guid string) error {
	oldest := c.now().Add(-deliveryAge)
	cursor := ""
	for range pages {
		page, next, err := c.attempts(ctx, cursor)
		if err != nil {
			return err
		}
		for _, a := range page {
			if strings.EqualFold(a.GUID, guid) && !a.DeliveredAt.Before(oldest) {
				return c.redeliver(ctx, a.ID)
			}
		}
		if next == "" || page[len(page)-1].DeliveredAt.Before(oldest) {
			return fmt.Errorf("find the delivery on GitHub: %w", polset.ErrNotFound)
		}
		cursor = next
	}
	return tooManyPages()
}
