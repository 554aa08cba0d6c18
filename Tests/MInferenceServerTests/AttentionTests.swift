import JSON
import MInferenceServer
import Testing

@Suite struct AttentionTests {
  private let text = String(repeating: "The lantern stands by the river. ", count: 30)

  @Test func `a head's picture comes whole, and behind the progress of its reading`() async throws {
    let server = try await TestServer.start()
    let asked = """
      "messages": [{"role": "user", "content": "\(text)"}], "layer": 1, "head": 0, "cells": 20, \
      "attention": {"mode": "a-shape", "budgets": {"sink": 8, "local": 40}, "exact": true}
      """
    let whole = try await server.client.post("/v1/attention", "{\(asked)}")
    #expect(whole.status == 200)
    let picture = try #require(whole.json)
    #expect(picture["object"]?.text == "attention.picture" && picture["model"]?.text == "tiny")
    #expect(picture["pattern"]?.text == "a-shape(8, 40)" && picture["mode"]?.text == "a-shape")
    #expect(picture["cells"]?.int == 20 && picture["note"]?.text?.isEmpty == false)
    let density = try #require(picture["density"]?.double)
    #expect((0.01..<0.5).contains(density))
    var kept = 0.0
    for name in ["mass", "kept", "computed"] {
      let rows = try #require(picture[name]?.elements)
      #expect(rows.count == 20)
      for (number, row) in rows.enumerated() {
        let values = try #require(row.elements).compactMap(\.double)
        #expect(values.count == number + 1 && values.allSatisfy { (0...1).contains($0) })
        if name == "mass" { #expect(abs(values.reduce(0, +) - 1) < 1e-4) }
        if name == "kept" { kept += values.reduce(0, +) / 20 }
      }
    }
    #expect(abs(kept - (picture["mass_kept"]?.double ?? 0)) < 1e-4 && kept < 0.999)

    let stream = try await server.client.post("/v1/attention", "{\(asked), \"stream\": true}")
    #expect(stream.body.hasSuffix("data: [DONE]\n\n"))
    let events = stream.events
    #expect(events.first?["prompt_progress"]?["total"]?.int == picture["tokens"]?.int)
    #expect(events.last?["mass"] == picture["mass"])
    // A text, and ids, are read as completions read them.
    let raw = try await server.client.post(
      "/v1/attention", #"{"prompt": "The map was here.", "layer": 0, "head": 1}"#)
    #expect(raw.json?["tokens"]?.int == raw.json?["cells"]?.int, "\(raw.body)")
    await server.stop()
  }

  @Test(arguments: [
    (#""layer": 2, "head": 0"#, "2 layers"), (#""layer": 0, "head": 2"#, "2 heads"),
    (#""layer": 0"#, "head is missing"), (#""head": 0"#, "layer is missing"),
    (#""layer": 0, "head": 0, "cells": 257"#, "1 to 256"),
    (#""layer": -1, "head": 0"#, "from 0"), (#""layer": 0, "head": 0, "attention": "x"#, "JSON"),
  ])
  func `what cannot be drawn is refused in one line`(fields: String, word: String) async throws {
    let server = try await TestServer.start()
    let reply = try await server.client.post("/v1/attention", "{\"prompt\": \"a\", \(fields)}")
    #expect(reply.status == 400)
    let message = reply.json?["error"]?["message"]?.text ?? ""
    #expect(message.contains(word) && !message.contains("\n"), "\(reply.body)")
    await server.stop()
  }

  @Test func `a prompt is asked for, and the server's limit holds`() async throws {
    let server = try await TestServer.start(
      ServerOptions(port: 0, promptTokens: 10, stopSeconds: 0))
    let none = try await server.client.post("/v1/attention", #"{"layer": 0, "head": 0}"#)
    #expect(none.status == 400 && none.body.contains("messages is missing"))
    let long = try await server.client.post(
      "/v1/attention", "{\"prompt\": \"\(text)\", \"layer\": 0, \"head\": 0}")
    #expect(long.status == 400 && long.body.contains("this server takes 10"))
    let page = try await server.client.get("/attention.js")
    #expect(
      page.status == 200 && page.headers["content-type"]?.hasPrefix("text/javascript") == true)
    await server.stop()
  }
}
