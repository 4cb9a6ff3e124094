// Package stored keeps chat completions that a customer asked to keep (store: true), to be listed, noted on and deleted by the same
// customer. What it keeps is JSON to it: the shapes are web/openai's.
//
// A completion belongs to a customer, whichever of its keys asked; nobody else finds it. It stays until the customer deletes it or is
// erased (package labeling deletes all rows of every table with a customer_id). Lists go from key to key (created_at, id), never by number, so that what comes or goes meanwhile neither repeats nor hides an
// item.
package stored
