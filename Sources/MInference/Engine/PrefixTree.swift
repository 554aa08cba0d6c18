package import Transformers

/// Keys and values of consecutive positions of one sequence, in a cache.
///
/// A storage that begins with position 0 is a whole sequence: an answer can go on in it. One that begins later holds
/// what a sequence does not share with another.
package final class PrefixStorage {
  package let cache: KeyValueCache
  /// The position in the cache's first row.
  package let firstPosition: Int
  /// Whether a sequence is being read or answered in it.
  package var isRunning = false
  /// Whether a node of the tree is in it.
  package fileprivate(set) var isInTree = false

  package init(cache: KeyValueCache, firstPosition: Int = 0) {
    self.cache = cache
    self.firstPosition = firstPosition
  }
}

/// A run of tokens that all sequences below it have in common.
package final class PrefixNode {
  /// Not empty, but for a root.
  package fileprivate(set) var tokens: [Int32]
  /// The position of the first of them.
  package let start: Int
  /// Where their keys and values are; nil for a root.
  package fileprivate(set) var storage: PrefixStorage?
  package fileprivate(set) var children: [PrefixNode] = []
  fileprivate weak var parent: PrefixNode?
  /// Larger for those used later.
  package fileprivate(set) var lastUse = 0
  /// Whether the sequence up to here is on disk, or is not going to be.
  package var isStored = false

  package var end: Int { start + tokens.count }

  fileprivate init(tokens: [Int32], start: Int, storage: PrefixStorage?, parent: PrefixNode?) {
    self.tokens = tokens
    self.start = start
    self.storage = storage
    self.parent = parent
  }

  /// Where its keys and values are; nil for a root.
  package var rows: CachedRows? { storage.map { rows(upTo: end, of: $0) } }

  private func rows(upTo end: Int, of storage: PrefixStorage) -> CachedRows {
    CachedRows(
      storage.cache, rows: start - storage.firstPosition..<end - storage.firstPosition)
  }

  /// The same of its positions before `end`.
  package func rows(before end: Int) -> CachedRows? {
    storage.map { rows(upTo: min(end, self.end), of: $0) }
  }

  /// From the first position to this node.
  package var path: [PrefixNode] { (parent?.path ?? []) + (storage == nil ? [] : [self]) }

  /// All nodes below this one.
  fileprivate var descendants: [PrefixNode] { children.flatMap { [$0] + $0.descendants } }
}

/// What the tree has of a prompt.
package struct PrefixMatch {
  /// From the first position on. The prompt may leave the last one in its middle.
  package let nodes: [PrefixNode]
  /// Tokens that both begin with.
  package let common: Int

  /// Where the keys and values of the common tokens are.
  package var rows: [CachedRows] { rows(from: 0) }

  /// Where those of the common tokens from a position on are.
  package func rows(from position: Int) -> [CachedRows] {
    nodes.compactMap { node in
      node.rows(before: common).flatMap { found in
        let left = max(0, position - node.start)
        return left < found.rows.count
          ? CachedRows(found.cache, rows: found.rows.dropFirst(left)) : nil
      }
    }
  }

  /// The beginning of a whole sequence that is the prompt's too: the longest there is.
  package var beginning: CachedRows? {
    nodes.last { $0.storage?.firstPosition == 0 }.flatMap { node in
      node.storage.map { CachedRows($0.cache, rows: 0..<min(common, node.end)) }
    }
  }

  /// What is lost where a sequence goes on in the last node's cache.
  package var lostTokens: Int { (nodes.last?.storage?.cache.count ?? common) - common }
}

/// Prefixes of sequences that are kept for prompts that begin alike: a radix tree over token ids.
///
/// A node owns a reference to the cache that has its keys and values; a cache is freed with the last node that
/// is in it. Caches of running sequences hold nodes too: positions that are there do not change. A sequence
/// that is inserted brings a cache with all its positions, whose beginning may be memory that other caches have too
/// (`KeyValueCache.sharedCount`). What the tree has already and is not shared is in memory twice until
/// ``compaction(of:)`` is carried out, which the engine does before it gives up anything.
package final class PrefixTree {
  /// Keys and values differ by the kind of attention, and by the factors of LongRoPE.
  private struct Root {
    let attention: AttentionOptions
    let hasLongFactors: Bool
    let node: PrefixNode
  }

  private var roots: [Root] = []
  private var clock = 0
  /// Bytes of all caches that nodes are in. What several have in common counts once.
  package var byteCount: Int { bytes.count }
  private var bytes = KeyValueBytes()

  package init() {}

  /// What the tree has of a prompt, but for the prompt's last token, which is left to be read.
  package func find(
    _ prompt: [Int32], attention: AttentionOptions, hasLongFactors: Bool = false
  ) -> PrefixMatch? {
    guard var node = root(attention, hasLongFactors) else { return nil }
    var nodes: [PrefixNode] = []
    var common = 0
    while common < prompt.count - 1,
      let child = node.children.first(where: { $0.tokens[0] == prompt[common] })
    {
      let shared = min(commonPrefix(child.tokens, prompt, from: common), prompt.count - 1 - common)
      nodes.append(child)
      common += shared
      if shared < child.tokens.count { break }
      node = child
    }
    return nodes.isEmpty ? nil : PrefixMatch(nodes: nodes, common: common)
  }

  /// Adds a sequence all of whose positions are in a storage.
  package func insert(
    _ tokens: [Int32], _ storage: PrefixStorage, attention: AttentionOptions,
    hasLongFactors: Bool = false
  ) {
    var node = root(attention, hasLongFactors) ?? addRoot(attention, hasLongFactors)
    var path: [PrefixNode] = []
    var depth = 0
    while depth < tokens.count {
      guard let child = node.children.first(where: { $0.tokens[0] == tokens[depth] }) else {
        let leaf = PrefixNode(
          tokens: Array(tokens[depth...]), start: depth, storage: storage, parent: node)
        node.children.append(leaf)
        path.append(leaf)
        break
      }
      let shared = commonPrefix(child.tokens, tokens, from: depth)
      if shared < child.tokens.count { split(child, at: shared) }
      depth += shared
      path.append(child)
      node = child
    }
    use(path)
    moveNodes(of: path, to: storage)
    account()
  }

  /// Caches that hold nothing but what the new one has too are of no further use.
  private func moveNodes(of path: [PrefixNode], to storage: PrefixStorage) {
    let covered = Set(path.map(ObjectIdentifier.init))
    let needed = Set(
      nodes.filter { !covered.contains(ObjectIdentifier($0)) }.compactMap(\.storage)
        .map(ObjectIdentifier.init))
    for node in path {
      guard let other = node.storage, !other.isRunning, !needed.contains(ObjectIdentifier(other))
      else { continue }
      node.storage = storage
    }
  }

  /// Whether a sequence can go on in place behind what it has in common with the tree: nobody else has
  /// positions of this cache beyond, nor memory of them.
  package func canRewind(_ match: PrefixMatch) -> Bool {
    guard let last = match.nodes.last, let storage = last.storage, storage.firstPosition == 0,
      !storage.isRunning, match.common >= storage.cache.sharedCount
    else { return false }
    return last.descendants.allSatisfy { $0.storage === storage }
  }

  /// Gives up what lies behind the common beginning, so that a sequence goes on there.
  package func rewind(_ match: PrefixMatch) -> PrefixStorage? {
    guard canRewind(match), let last = match.nodes.last, let storage = last.storage else {
      return nil
    }
    if match.common < last.end { split(last, at: match.common - last.start) }
    last.children = []
    storage.cache.truncate(to: match.common)
    use(match.nodes)
    account()
    return storage
  }

  /// Marks nodes as used now.
  package func use(_ nodes: [PrefixNode]) {
    clock += 1
    for node in nodes { node.lastUse = clock }
  }

  /// Ends of sequences that can be given up: the least recently used first.
  package func expendable(but kept: [PrefixNode]) -> [PrefixNode] {
    leaves.filter { leaf in
      leaf.storage?.isRunning == false && !kept.contains { $0 === leaf }
    }.sorted { $0.lastUse < $1.lastUse }
  }

  /// Gives up the end of a sequence.
  package func remove(_ leaf: PrefixNode) {
    leaf.parent?.children.removeAll { $0 === leaf }
    if let storage = leaf.storage, !storage.isRunning, let extent = extent(of: storage) {
      storage.cache.truncate(to: extent.upperBound - storage.firstPosition)
    }
    account()
  }

  /// Gives up everything that is in a storage, and what begins with it.
  package func forget(_ storage: PrefixStorage) {
    for node in nodes where node.storage === storage {
      node.parent?.children.removeAll { $0 === node }
    }
    account()
  }

  /// Bytes of all caches that nodes are in, and of others.
  package func byteCount(with caches: [KeyValueCache]) -> Int {
    var all = bytes
    for cache in caches { all.add(cache) }
    return all.count
  }

  package func removeAll() {
    roots = []
    account()
  }

  /// The least recently used end of a sequence that is long enough for the disk and not there.
  package func unstored(atLeast tokens: Int) -> PrefixNode? {
    expendable(but: []).first { !$0.isStored && $0.end >= tokens }
  }

  /// How the sequences with a node were read.
  package func reading(
    of node: PrefixNode
  ) -> (attention: AttentionOptions, hasLongFactors: Bool)? {
    roots.first { root in root.node.descendants.contains { $0 === node } }
      .map { ($0.attention, $0.hasLongFactors) }
  }

  package var leafCount: Int { counted }

  /// The ends of all sequences.
  package var leaves: [PrefixNode] { nodes.filter(\.children.isEmpty) }

  private var nodes: [PrefixNode] { roots.flatMap(\.node.descendants) }

  private var storages: [PrefixStorage] {
    var seen: Set<ObjectIdentifier> = []
    return nodes.compactMap(\.storage).filter { seen.insert(ObjectIdentifier($0)).inserted }
  }

  private func account() {
    let storages = storages
    for storage in accounted where !storages.contains(where: { $0 === storage }) {
      storage.isInTree = false
    }
    for storage in storages { storage.isInTree = true }
    accounted = storages
    counted = leaves.count
    bytes = KeyValueBytes(of: storages.map(\.cache))
  }

  /// Storages of the tree when bytes were counted last.
  private var accounted: [PrefixStorage] = []
  private var counted = 0

  private func root(_ attention: AttentionOptions, _ hasLongFactors: Bool) -> PrefixNode? {
    roots.first { $0.attention == attention && $0.hasLongFactors == hasLongFactors }?.node
  }

  private func addRoot(_ attention: AttentionOptions, _ hasLongFactors: Bool) -> PrefixNode {
    let node = PrefixNode(tokens: [], start: 0, storage: nil, parent: nil)
    roots.append(Root(attention: attention, hasLongFactors: hasLongFactors, node: node))
    return node
  }

  /// Lets a node end behind `count` of its tokens; the rest becomes its only child.
  private func split(_ node: PrefixNode, at count: Int) {
    let rest = PrefixNode(
      tokens: Array(node.tokens[count...]), start: node.start + count, storage: node.storage,
      parent: node)
    rest.children = node.children
    for child in rest.children { child.parent = rest }
    rest.lastUse = node.lastUse
    rest.isStored = node.isStored
    node.tokens.removeSubrange(count...)
    node.children = [rest]
  }
}

// MARK: Compaction

extension PrefixTree {
  /// A storage that takes more memory than what the tree has in it.
  package struct Compaction {
    package let storage: PrefixStorage
    /// The positions that nodes have in it.
    package let positions: Range<Int>
  }

  /// The compaction that saves most rows; nil where none saves 256 rows and an eighth of a cache's own. Rows in memory
  /// that others have too are not saved.
  ///
  /// - Parameter isMovable: Whether the rows of a cache can be copied.
  package func compaction(of isMovable: (KeyValueCache) -> Bool) -> Compaction? {
    storages.compactMap { storage -> (saved: Int, compaction: Compaction)? in
      guard !storage.isRunning, isMovable(storage.cache), let extent = extent(of: storage) else {
        return nil
      }
      let own = storage.cache.capacity - storage.cache.sharedCount
      let saved = own - extent.count
      guard saved >= max(256, own / 8) else { return nil }
      return (saved, Compaction(storage: storage, positions: extent))
    }.max { $0.saved < $1.saved }?.compaction
  }

  /// The most bytes that giving up all other sequences would free.
  ///
  /// - Parameter running: Caches of sequences that run, also of those that are not in the tree.
  package func mostFreed(but kept: [PrefixNode], running: [KeyValueCache]) -> Int {
    let left = storages.filter { storage in
      storage.isRunning || kept.contains { $0.storage === storage }
    }
    return byteCount(with: running) - KeyValueBytes(of: left.map(\.cache) + running).count
  }

  /// The nodes of a storage are in another one now, which has the positions that they need.
  package func replace(_ storage: PrefixStorage, by other: PrefixStorage) {
    for node in nodes where node.storage === storage { node.storage = other }
    account()
  }

  /// The positions of a storage that nodes have; nil if none.
  private func extent(of storage: PrefixStorage) -> Range<Int>? {
    let own = nodes.filter { $0.storage === storage }
    guard let first = own.map(\.start).min(), let end = own.map(\.end).max() else { return nil }
    return first..<end
  }
}

/// The number of ids with which `left`, and `right` from an index on, begin alike.
package func commonPrefix(_ left: [Int32], _ right: [Int32], from offset: Int = 0) -> Int {
  let count = min(left.count, right.count - offset)
  return left.withUnsafeBufferPointer { left in
    right.withUnsafeBufferPointer { right in
      var index = 0
      while index < count, left[index] == right[offset + index] { index += 1 }
      return index
    }
  }
}
