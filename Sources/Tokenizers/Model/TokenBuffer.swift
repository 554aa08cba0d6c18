/// A growing list of ids that can be copied from itself.
final class TokenBuffer {
  private(set) var count = 0
  private var capacity: Int
  private var storage: UnsafeMutablePointer<Int32>

  init(capacity: Int) {
    self.capacity = max(16, capacity)
    storage = .allocate(capacity: self.capacity)
  }

  deinit { storage.deallocate() }

  @inline(__always)
  func append(_ id: UInt32) {
    if count == capacity { grow(by: 1) }
    storage[count] = Int32(bitPattern: id)
    count += 1
  }

  func append(contentsOf ids: some Collection<Int32>) {
    for id in ids { append(UInt32(bitPattern: id)) }
  }

  /// Appends ids that the buffer holds already.
  @inline(__always)
  func appendCopy(from start: Int, count copied: Int) {
    if count + copied > capacity { grow(by: copied) }
    for index in 0..<copied { storage[count + index] = storage[start + index] }
    count += copied
  }

  func removeAll(from start: Int) { count = min(count, start) }

  /// The ids as an array.
  var array: [Int32] { Array(UnsafeBufferPointer(start: storage, count: count)) }

  private func grow(by more: Int) {
    while capacity < count + more { capacity *= 2 }
    let larger = UnsafeMutablePointer<Int32>.allocate(capacity: capacity)
    larger.update(from: storage, count: count)
    storage.deallocate()
    storage = larger
  }
}
