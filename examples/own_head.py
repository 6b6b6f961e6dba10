"""Put a liquid head of your own on a torchvision backbone, train it, and save a model that `infer -m` takes.

python examples/own_head.py    # writes swipes/
"""

import torch

import liquidvision as lv

torch.manual_seed(0)
# weights=None: random ones, so that this runs offline. "DEFAULT" takes ImageNet's; a path takes your own.
backbone = lv.Backbone("mobilenet_v3_small", weights=None)
config = lv.LiquidHeadConfig(backbone.layouts, classes=2, components=16, width=16, units=16, cell="gated")
head = lv.LiquidHead(config)

# Made-up data: 32 clips of 10 frames. With real clips, embeddings are backbone.embed(pictures) of each.
labels = torch.randint(2, (32,))
drift = torch.linspace(0, 1, 10)[None, :, None] * (2.0 * labels - 1)[:, None, None]
embeddings = torch.randn(32, 1, backbone.dim) + drift * torch.randn(backbone.dim)
dts = torch.full((32, 10), 0.04)

head.fit_statistics(embeddings, dts)
optimiser = torch.optim.AdamW(head.parameters(), lr=0.01)
for _ in range(30):
    logits = head(embeddings, dts).logits[:, -1]
    loss = torch.nn.functional.cross_entropy(logits, labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
print(f"loss {loss.item():.3f}")

model = lv.Model(backbone, head, ["left", "right"], name="swipes")
model.save_pretrained("swipes")
print(lv.Model.from_pretrained("swipes").labels)
