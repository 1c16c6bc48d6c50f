package webhook_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/polset/polset"
	"github.com/polset/polset/webhook"
)

// instant is a Recorder that costs nothing.
type instant struct{ down }

func (instant) RecordPush(context.Context, polset.Delivery, polset.Push) (polset.Receipt, error) {
	return polset.Receipt{Ingestions: []string{"ing-0000000000000001"}}, nil
}

// BenchmarkDelivery is the CPU of one delivery without network and database.
func BenchmarkDelivery(b *testing.B) {
	for name, body := range map[string][]byte{"one commit": payload(b, nil), "2048 commits": manyCommits(b, 2048)} {
		b.Run(name, func(b *testing.B) {
			r, err := webhook.New(webhook.Config{Recorder: instant{}, Lifecycle: instant{}, Secrets: []polset.Secret{polset.NewSecret(appSecret)}})
			if err != nil {
				b.Fatal(err)
			}
			e := echo.New()
			r.Register(e)
			header := delivery("push", body).header
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				req := httptest.NewRequest(http.MethodPost, webhook.PathApp, bytes.NewReader(body))
				req.Header = header
				w := httptest.NewRecorder()
				e.ServeHTTP(w, req)
				if w.Code != http.StatusAccepted {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
}
