"""What an application does with the official client, the same for its versions 7, 8 and 9.

Called by elasticsearch_clients.sh once per version. Fails with the first answer that is not as Elasticsearch gives it.
"""

import datetime

import elasticsearch
from elasticsearch import Elasticsearch, helpers

from harness import Daybook, equal, scenario, workplace

MAJOR = elasticsearch.VERSION[0] if hasattr(elasticsearch, "VERSION") else int(elasticsearch.__versionstr__.split(".")[0])
INDEX = "clients"
COUNT = 250
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def time_of(number):
    """Events lie a second apart and end now, so that all of them are within any retention."""
    return (NOW - datetime.timedelta(seconds=COUNT - number)).isoformat().replace("+00:00", "Z")


def body(response):
    """Version 7 answers plain dictionaries, later ones an object around it."""
    return getattr(response, "body", response)


def search(client, **question):
    return body(client.search(index=INDEX, **question))


def check_handshake(client):
    information = body(client.info())
    assert information["version"]["number"].split(".")[0].isdigit(), information
    assert client.ping() is True


def check_single_documents(client):
    document = {"@timestamp": time_of(0), "message": "one document", "nested": {"b": [1, 2.5, None]}, "level": "info"}
    reply = body(client.index(index=INDEX, id="one", refresh=True, document=document))
    equal("index", reply["result"], "created")
    equal("exists", bool(client.exists(index=INDEX, id="one")), True)
    equal("exists of nothing", bool(client.exists(index=INDEX, id="none")), False)
    found = body(client.get(index=INDEX, id="one"))
    equal("get", (found["found"], found["_source"]), (True, document))

    document["message"] = "replaced"
    reply = body(client.index(index=INDEX, id="one", refresh=True, document=document))
    equal("index again", reply["result"], "updated")
    equal("get after replacing", body(client.get(index=INDEX, id="one"))["_source"]["message"], "replaced")
    try:
        client.create(index=INDEX, id="one", document=document)
        raise AssertionError("create of an id that exists was not refused")
    except elasticsearch.ConflictError:
        pass

    equal("delete", body(client.delete(index=INDEX, id="one", refresh=True))["result"], "deleted")
    equal("exists after delete", bool(client.exists(index=INDEX, id="one")), False)
    try:
        client.get(index=INDEX, id="one")
        raise AssertionError("get of a deleted document was not a 404")
    except elasticsearch.NotFoundError:
        pass


def actions():
    for number in range(COUNT):
        yield {
            "_op_type": "create",
            "_index": INDEX,
            "_id": f"n{number}",
            "@timestamp": time_of(number),
            "message": f"request number {number} took {number % 7} ms",
            "number": number,
            "level": "error" if number % 10 == 0 else "info",
        }


def check_bulk(client):
    stored, errors = helpers.bulk(client, actions(), chunk_size=100, refresh=True)
    equal("bulk", (stored, errors), (COUNT, []))
    stored, errors = helpers.bulk(client, actions(), raise_on_error=False, refresh=True)
    equal("the same ids again", (stored, {error["create"]["status"] for error in errors}), (0, {409}))


def check_search(client):
    reply = search(
        client,
        query={"query_string": {"query": "level:error AND message:request"}},
        sort=[{"@timestamp": {"order": "desc"}}],
        size=5,
        track_total_hits=True,
    )
    equal("total", reply["hits"]["total"], {"value": COUNT // 10, "relation": "eq"})
    equal("newest errors", [hit["_source"]["number"] for hit in reply["hits"]["hits"]], [240, 230, 220, 210, 200])
    equal("timed_out", reply["timed_out"], False)

    reply = search(
        client,
        query={"bool": {"filter": [{"range": {"number": {"gte": 100, "lt": 150}}}, {"term": {"level": "info"}}]}},
        size=0,
        track_total_hits=True,
        aggs={
            "over_time": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1m", "min_doc_count": 1}},
            "levels": {"terms": {"field": "level"}},
            "largest": {"max": {"field": "number"}},
        },
    )
    equal("range and term", reply["hits"]["total"]["value"], 45)
    aggregations = reply["aggregations"]
    equal("date_histogram", sum(bucket["doc_count"] for bucket in aggregations["over_time"]["buckets"]), 45)
    equal("terms", [(b["key"], b["doc_count"]) for b in aggregations["levels"]["buckets"]], [("info", 45)])
    equal("max", aggregations["largest"]["value"], 149.0)


def check_paging(client):
    """What helpers.scan does, by search_after: every document exactly once."""
    seen, after = [], None
    while True:
        page = {"size": 60, "sort": [{"@timestamp": {"order": "asc"}}, {"_doc": {"order": "asc"}}]}
        if after is not None:
            page["search_after"] = after
        hits = search(client, query={"match_all": {}}, **page)["hits"]["hits"]
        if not hits:
            break
        seen += [hit["_source"]["number"] for hit in hits]
        after = hits[-1]["sort"]
    equal("all pages", seen, list(range(COUNT)))


def check_count_and_msearch(client):
    # Version 7 takes these two as bodies only.
    question = {"query": {"term": {"level": "error"}}}
    reply = client.count(index=INDEX, body=question) if MAJOR == 7 else client.count(index=INDEX, **question)
    equal("count", body(reply)["count"], COUNT // 10)

    searches = [
        {"index": INDEX},
        {"size": 1, "query": {"ids": {"values": ["n7"]}}},
        {"index": f"{INDEX}-missing", "ignore_unavailable": True},
        {"size": 1, "query": {"match_all": {}}},
        {"index": INDEX},
        {"query": {"no_such_query": {}}},
    ]
    reply = client.msearch(body=searches) if MAJOR == 7 else client.msearch(searches=searches)
    first, missing, wrong = body(reply)["responses"]
    equal("msearch by id", [hit["_id"] for hit in first["hits"]["hits"]], ["n7"])
    equal("msearch of a missing index", missing["hits"]["hits"], [])
    equal("msearch with a wrong query", wrong["status"], 400)
    assert "error" in wrong, wrong


def check_errors(client):
    try:
        search(client, query={"query_string": {"query": "level:("}})
        raise AssertionError("a wrong query was not refused")
    except (elasticsearch.RequestError if MAJOR == 7 else elasticsearch.BadRequestError):
        pass


def main(address):
    client = Elasticsearch(address)
    check_handshake(client)
    check_single_documents(client)
    check_bulk(client)
    check_search(client)
    check_paging(client)
    check_count_and_msearch(client)
    check_errors(client)


with workplace() as work, scenario(f"elasticsearch {elasticsearch.__versionstr__}"):
    main(Daybook(work).start().address)
