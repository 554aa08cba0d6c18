import MInference

/// A prompt as a whole, in chunks, and behind a kept beginning.
extension ModelVerifier {
  func checkPrefill() {
    if let golden = prompt.golden {
      check("the logits of transformers", tolerance) {
        (try Self.score(device, ids), golden[...], "")
      }
    }
    check("whole prompt", tolerance) { (try Self.score(device, ids), expected[...], "") }
    check("last position alone", tolerance) {
      let cache = try Self.makeCache(device, ids.count)
      var options = PrefillOptions()
      options.lastLayerLastRowOnly = true
      return (
        try device.prefill(ids, cache: cache, options: options).logits, expected.suffix(width), ""
      )
    }
    let tile = device.backend.tileShape(headDim: device.attentionShape(layer: 0).headDim).rows
    let chunk = max(tile, ids.count / 3)
    if chunk < ids.count {
      check("chunks of \(chunk) tokens", tolerance) {
        (
          try Self.score(device, ids, PrefillOptions(chunk: chunk, rowBlock: tile)), expected[...],
          ""
        )
      }
    }
    guard ids.count > 2 else { return }
    let kept = ids.count / 2
    check("another end behind \(kept) kept tokens", tolerance) {
      // The cache held something else behind the common beginning.
      let cache = try Self.makeCache(device, ids.count)
      let other = ids[..<kept] + ids[kept...].reversed()
      _ = try device.prefill(Array(other), cache: cache)
      cache.truncate(to: kept)
      return (try Self.score(device, ids, cache: cache), expected[(kept * width)...], "")
    }
  }
}
