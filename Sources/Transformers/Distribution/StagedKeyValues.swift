import Compute

/// The keys and values of a sequence whose layers are on several devices, as one store.
final class StagedKeyValueStore: KeyValueStore {
  let parts: [KeyValueCache]

  init(parts: [KeyValueCache]) { self.parts = parts }

  var layers: Int { parts.reduce(0) { $0 + $1.layers.count } }
  var capacity: Int { parts.first?.capacity ?? 0 }
  var type: DataType { parts.first?.type ?? .float32 }
  var place: KeyValueOptions.Place { parts.first?.place ?? .device }
  var byteCount: Int { parts.reduce(0) { $0 + $1.byteCount } }

  func open(
    layer: Int, kept: Int, count: Int, for access: KeyValueAccess
  ) throws -> KeyValueLayer {
    let part = try part(of: layer)
    return try part.store.open(
      layer: layer - part.layers.lowerBound, kept: kept, count: count, for: access)
  }

  func close(layer: Int, kept: Int, count: Int) throws {
    let part = try part(of: layer)
    try part.store.close(layer: layer - part.layers.lowerBound, kept: kept, count: count)
  }

  private func part(of layer: Int) throws -> KeyValueCache {
    guard let part = parts.first(where: { $0.layers.contains(layer) }) else {
      throw TransformerError.foreignCache(detail: "no part of it has the layer \(layer)")
    }
    return part
  }
}
