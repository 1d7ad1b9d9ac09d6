"""The published files of the book's data: where they lie, and their checksums.

Of the public collection "imagenet-sample-images", one picture a class with the class in the file's name, 64 are used.
"""

from dataclasses import dataclass

__all__ = ["PUBLISHED", "SAMPLES", "RemoteFile"]


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    `path` is folder/name below a data directory; `checksum` is "md5:…" or "sha256:…" (the latter may be a prefix of the
    digest, as torchvision's file names carry it); `addresses` are tried in order.

    >>> PUBLISHED["alexnet"][0].checksum
    'sha256:7be5be79'
    """

    path: str
    checksum: str
    addresses: tuple[str, ...]


def _idx_files(folder: str, sums: tuple[str, ...], addresses: tuple[str, ...]) -> tuple[RemoteFile, ...]:
    names = [f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return tuple(
        RemoteFile(
            f"{folder}/{name}",
            f"md5:{digest}",
            tuple(address + name for address in addresses),
        )
        for name, digest in zip(names, sums, strict=True)
    )


# file, class index (0 to 999), sha256 of the JPEG
SAMPLES: tuple[tuple[str, int, str], ...] = (
    ("n02056570_king_penguin.JPEG", 145, "76a03cbc599244b2d647b326ef80f2c53fa664c92779b693955187afebd7ee75"),
    ("n01943899_conch.JPEG", 112, "05038339edae29a0821f1f53cfdcf8f678e71d01752ea7d23a9fecb758adbdc6"),
    ("n02106382_Bouvier_des_Flandres.JPEG", 233, "4146973f8104e209d9b3e7b55b2ab3105667d939d96127825600dc954eac160c"),
    ("n02009912_American_egret.JPEG", 132, "f8fc8a85772b79579913c9281c2ee6696ab2231456b364bb58a764f06f73696d"),
    ("n02107312_miniature_pinscher.JPEG", 237, "c93581e885c5eb4403c3e47e832071fe5ca01fe2c40a700344ec55dd1107372c"),
    ("n01580077_jay.JPEG", 17, "44ae6bf885bcef44dbf99e6e90d201b18344ac1dd6af7c6b5870419b87ca742d"),
    ("n02486410_baboon.JPEG", 372, "e1ad2ed50c51971291aa11b0feff9794551af278904ffac8024f4ffa7f827d03"),
    ("n04346328_stupa.JPEG", 832, "befe6c76d5bb1b88fc99a1984b145c02fe28995e386cad8bac0e6acb78d93109"),
    ("n02917067_bullet_train.JPEG", 466, "fd3c1e01f5b0b4e7e41375bc14d8f8adca1f42e3e03b09e766ae42a1f9b127ff"),
    ("n02088238_basset.JPEG", 161, "1ef3393138243dc33d62cb3244cc58ea86a6981e9d545be633200cd90a7ac7fb"),
    ("n02071294_killer_whale.JPEG", 148, "4294cc69ac7e60d7cb50349afb1bc792deb006bab8ebe07aac6a0d52b0008c30"),
    ("n03954731_plane.JPEG", 726, "386a281964b47a2d9c1cd39f94c718681805e6839d92709faa26318565606402"),
    ("n07697537_hotdog.JPEG", 934, "33a858f91ca7b80c543721fefba644af460b6d7d14942b3555c67eeb8f38fe10"),
    ("n02123394_Persian_cat.JPEG", 283, "6392424586ff1c9b31dfa3a8d07f183f183073dfb9160edcbe15d6b664534d00"),
    ("n02817516_bearskin.JPEG", 439, "35392a5a884e67c65cb0d04f27bf8cedca079daa3aab85b150152c633724be43"),
    ("n03733131_maypole.JPEG", 645, "b1fad066942b35cbe6475866c51392b6affb6afae98237908e86d28e2f930e9c"),
    ("n02877765_bottlecap.JPEG", 455, "21d1677dede6d835ddc1c4f924de29c1b972054287e2ce74b45583c530f5367b"),
    ("n02445715_skunk.JPEG", 361, "4e4eff1325194e65d4e4e5ba308dd97b91054e4094dfb6cee20513d77b305542"),
    ("n04371774_swing.JPEG", 843, "89dcffcc498ff7e62da98f7e74813239a2b2d5cffda300a9cce438a0cf92f50b"),
    ("n04579432_whistle.JPEG", 902, "caf3476a58aa7da8cb1442401a785d1979f45d14ada28cf7f0a189a0246929c5"),
    ("n09256479_coral_reef.JPEG", 973, "772d184004582397bd3bad114a7178a4d8935bc2c642cd5f819347122a4c2112"),
    ("n02114855_coyote.JPEG", 272, "9c9d95d92d4cf1bb7b1edfd939d9496a9850ca8231a6bcfa55058039aeb7c3e1"),
    ("n01728572_thunder_snake.JPEG", 52, "0e215df265268553903744e1358aff77fb9b79b08e2a0a002ba5a6e7e061118a"),
    ("n04239074_sliding_door.JPEG", 799, "02797f0a429e4343d56ffb69afdf93bc9ee1849237ab06bfddba26084fed781b"),
    ("n01744401_rock_python.JPEG", 62, "dadc8567a05502acc97e6601e225181636d6ba65b1b4a49da877b8e48057fa12"),
    ("n02177972_weevil.JPEG", 307, "d45393642dbd168b009b66a87d8bf6e1f80b09ecbeb420a4f8e38e98d1d2154a"),
    ("n01883070_wombat.JPEG", 106, "bbb7c3f9349bc51f8797c4c0a635c042d89d345daa6d45892a42944aeb06e437"),
    ("n01950731_sea_slug.JPEG", 115, "19ec3f959903f53a2479b692cbe0bbbca008ef02a7693e3182a2e986c5e900d3"),
    ("n03627232_knot.JPEG", 616, "50f4beed51294db3ecc0bb35b28cccd14b0084c353941ca3b6d41c942cd2cc70"),
    ("n02114548_white_wolf.JPEG", 270, "dab3abf2d30e020531c26a08556a3ed77b82c9a543e1dd7e65fa07d589dcaf70"),
    ("n02096585_Boston_bull.JPEG", 195, "528167b7907aba97ace035362489b3b8d06ce68e9af6447249534db1c60d3eba"),
    ("n02085620_Chihuahua.JPEG", 151, "be377400fd6ae20a389434ba6d46f7b4d05c0d6b2015bcc09fe123122c547ae8"),
    ("n02391049_zebra.JPEG", 340, "ca35cfbead9763232ee94ccb8a9d3a2e2e0bff576a1e22221b210589f6c7bd42"),
    ("n02120079_Arctic_fox.JPEG", 279, "71cd5996882baef26759abb08bb290e242f80b2e06122f88ce2f1327dc1b3f85"),
    ("n03400231_frying_pan.JPEG", 567, "d28c67a9589d9cbcf786531afb69776d95d9a7b1d9907cc69fb21347c803f937"),
    ("n04009552_projector.JPEG", 745, "b86a1d67258383b8e0de4a0ba4638d2baabd774cee166eb6061b89f405727b35"),
    ("n13133613_ear.JPEG", 998, "25b93ea5b8394a1d661e50cb61c214040571e16099badf95c2c0d4a724945643"),
    ("n01749939_green_mamba.JPEG", 64, "e1e302b566acca31e008a4fcca27e0564555cddab2cc0e7ee7d579cdb9e9e83b"),
    ("n02892767_brassiere.JPEG", 459, "90124dde6d0d8cc71cd6c8f38e27f04378b3c1260a22d3298a6e509f75013d43"),
    ("n01984695_spiny_lobster.JPEG", 123, "f0a780c15d0357871ea5d5c94a0323048bc8060b64d3f5b749e8d997d1313681"),
    ("n03791053_motor_scooter.JPEG", 670, "28594b15ccc537ce8fd580ca0e75bd4a5dec63f9cdf929b2f5ab6233bdb2b130"),
    ("n01756291_sidewinder.JPEG", 68, "faeba788075f4c9c47354f07da74bf9475c44e685d7ed9483a4c1433fb15a02a"),
    ("n02799071_baseball.JPEG", 429, "06dc912bdea8612e77e0586dd47f78b8aaf3a70aedab9158ab2be9e419a7f367"),
    ("n02808304_bath_towel.JPEG", 434, "bfe2be2d92161525e3f1f29b16238cff4c06e3c11ec5e69e986e901eb14e656c"),
    ("n01484850_great_white_shark.JPEG", 2, "2154d212dbb63a67f1436967223d846f687121cdd9ed1a37d6ca8f0821d385bc"),
    ("n01665541_leatherback_turtle.JPEG", 34, "050274dc6b49ebc22edaf6a60002719f9e277aec444edb2c91a3749ea6ea17bb"),
    ("n02281787_lycaenid.JPEG", 326, "c6e6e8000ca71aceac9e84af522d61d16da232c52f8cb42357da76ebdaf07c91"),
    ("n03530642_honeycomb.JPEG", 599, "cc698372d71d8e7ed92ad66c1ece7d183d3e5847090e541d5d55e1fb19f28632"),
    ("n02894605_breakwater.JPEG", 460, "76651976d12bd3d0f70fa7c75bca49bdc0414a33b4c65ab148e635015fa37d21"),
    ("n04141975_scale.JPEG", 778, "3a0e5efb8121cf1ef339208f5e5526c897d100fbfefa10b62d2900cacf14f549"),
    ("n04380533_table_lamp.JPEG", 846, "2b118959710131acaf23daecb18999de31c6aa68a6bd7d000d6c3da65ea4b2e2"),
    ("n01667778_terrapin.JPEG", 36, "936bccf5a153c64aa94b9ed13bf9439797b406463395e35c365ea75c4962a54a"),
    ("n07871810_meat_loaf.JPEG", 962, "f24f6d964560815b78968cd64c0667c8ab218d0508c6d60a13d0b63ec068c73d"),
    ("n01775062_wolf_spider.JPEG", 77, "77fe56c51ff64e0e8ba1d4c9106a41c6efa0f6331f7543b0a0cfd0b623133902"),
    ("n04522168_vase.JPEG", 883, "0c03c2bdb7e08cdb6ee654e5e49ca53bd2528691c57329f1e6c97a77d8f115a1"),
    ("n03259280_Dutch_oven.JPEG", 544, "782dfa8cf9bf63b0ea3c229d89df410a421268f696c314cf428f0935a7293dd4"),
    ("n09399592_promontory.JPEG", 976, "dbc91acca9c12607dc3ab360d4fad589a5d7951d793594eb7f8e17e8fa9d33ca"),
    ("n01753488_horned_viper.JPEG", 66, "233672e6225b06feaecbc6d655cee5015d401e615e1b41e7dc23083acf5724a9"),
    ("n04192698_shield.JPEG", 787, "9a806f4a03f4ec80194c3eb3d16f3b343f373f762a77ff3b28bcf012fb73e558"),
    ("n03196217_digital_clock.JPEG", 530, "c25a567d2ca590e893232cb143c54da3f838421a827771fa322dcaf779ab6e9b"),
    ("n02091467_Norwegian_elkhound.JPEG", 174, "9adb0ef6286ca13fe38f07113f2c7c4e8695d4c66f16b6ff8d77ed05a94304d7"),
    ("n07614500_ice_cream.JPEG", 928, "fe4b8bd4ff7539dff1ce92f5c227ae8d66e325f6066a2ba6cc38387ea689a70b"),
    ("n02109525_Saint_Bernard.JPEG", 247, "1281a0006ef2f7409412e225ac1abebf7fae945d3f240b7c3ac6fad2b85e4399"),
    ("n02109047_Great_Dane.JPEG", 246, "7b5ba6980673904a4adcc5ad48202249a57ec40a8085d6f5b89f8836482d4299"),
)

_SAMPLES_ADDRESS = "https://raw.githubusercontent.com/EliSchwartz/imagenet-sample-images/master/"
_TORCHVISION = "https://download.pytorch.org/models/"

PUBLISHED: dict[str, tuple[RemoteFile, ...]] = {
    "mnist": _idx_files(
        "mnist",
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "fashion-mnist": _idx_files(
        "fashion-mnist",
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
    ),
    "cifar-100": (
        RemoteFile(
            "cifar-100/cifar-100-binary.tar.gz",
            "md5:03b5dce01913d631647c71ecec9e9cb8",
            ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
        ),
    ),
    "imagenet-samples": tuple(
        RemoteFile(f"imagenet-samples/{name}", f"sha256:{digest}", (_SAMPLES_ADDRESS + name,))
        for name, _, digest in SAMPLES
    ),
    "squeezenet1_0": (
        RemoteFile(
            "squeezenet1_0/squeezenet1_0-b66bff10.pth",
            "sha256:b66bff10",
            (_TORCHVISION + "squeezenet1_0-b66bff10.pth",),
        ),
    ),
    "alexnet": (
        RemoteFile(
            "alexnet/alexnet-owt-7be5be79.pth",
            "sha256:7be5be79",
            (_TORCHVISION + "alexnet-owt-7be5be79.pth",),
        ),
    ),
}
